use super::*;

#[test]
fn an_emptied_vector_keeps_its_room() {
    let text = String::from("acme");
    let full: Vec<(&str, Option<&[u8]>)> = vec![(&text, None); 100];
    let at = full.as_ptr().cast::<u8>();
    let empty: Vec<(&'static str, Option<&'static [u8]>)> = emptied(full);
    assert_eq!((empty.len(), empty.capacity() >= 100, empty.as_ptr().cast()), (0, true, at));
}

#[test]
fn a_line_says_where_and_why() {
    let text = "no header \"tenant\"; headers present: org, trace";
    assert_eq!(
        line("orders", 3, 1042, text),
        "orders[3]@1042: no header \"tenant\"; headers present: org, trace"
    );
}

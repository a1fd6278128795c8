//! A page as its reader follows it: blocks of commands and files, in their order. What a reader sees, and a test must be told, is in
//! comments of the page's source, each in the line before its block:
//!
//! | comment | |
//! | --- | --- |
//! | `<!-- not run: WHY -->` | the commands are not run |
//! | `<!-- runs: URL -->` | the command runs on; the next step waits until the address answers 200 |
//! | `<!-- until: TEXT -->` | the command is ended as soon as it has printed this |
//! | `<!-- file: NAME -->` | the block is a file that the reader saves |
//!
//! These stand for what the reader does in between:
//!
//! | comment | |
//! | --- | --- |
//! | `<!-- stop: PROGRAM -->` | ends what runs on |
//! | `<!-- page: URL has COUNT of SELECTOR -->`, or `COUNT or more of` | a browser opens the page, or looks at it again, and sees so many |
//! | `<!-- page: URL reloads with SELECTOR -->` | a browser opens the page and reloads it; the counter in it goes on, exactly |
//!
//! All other blocks of `sh` and `console` must end, and well; of `console`, what the page shows is what comes (`…` is anything).

use std::fs;
use std::path::Path;

#[derive(Debug)]
pub(crate) enum Step {
    Run(String),
    /// A command and what it prints.
    Shown(String, String),
    Until(String, String),
    RunsOn(String, String),
    File(String, String),
    NotRun(String),
    Stop(String),
    Has {
        url: String,
        count: usize,
        or_more: bool,
        selector: String,
    },
    Reloads {
        url: String,
        selector: String,
    },
}

/// The steps of a page of docs/.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parsed(&text)
}

fn parsed(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut note: Option<(&str, &str)> = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            steps.extend(block_steps(note.take(), language, &block));
            continue;
        }
        assert!(note.is_none(), "{note:?} is not before a block but before {line:?}");
        let comment = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        let Some((what, which)) = comment.and_then(|comment| comment.split_once(": ")) else { continue };
        match what {
            "stop" => steps.push(Step::Stop(which.to_owned())),
            "page" => steps.push(look(which)),
            "not run" | "runs" | "until" | "file" => note = Some((what, which)),
            _ => panic!("a comment that no test knows: {line}"),
        }
    }
    steps
}

fn look(text: &str) -> Step {
    if let Some((url, selector)) = text.split_once(" reloads with ") {
        return Step::Reloads { url: url.to_owned(), selector: selector.to_owned() };
    }
    let (url, rest) = text.split_once(" has ").expect("what the page has");
    let (count, selector) = rest.split_once(" of ").expect("how many of what");
    let (count, or_more) = count.strip_suffix(" or more").map_or((count, false), |count| (count, true));
    let count = count.parse().expect("a number");
    Step::Has { url: url.to_owned(), count, or_more, selector: selector.to_owned() }
}

fn block_steps(note: Option<(&str, &str)>, language: &str, lines: &[&str]) -> Vec<Step> {
    let text = lines.join("\n") + "\n";
    match (note, language) {
        (Some(("file", name)), _) => vec![Step::File(name.to_owned(), text)],
        (Some(("not run", why)), "sh") => vec![Step::NotRun(why.to_owned())],
        (Some(("runs", url)), "sh") => vec![Step::RunsOn(text, url.to_owned())],
        (Some(("until", part)), "sh") => vec![Step::Until(text, part.to_owned())],
        (None, "sh") => vec![Step::Run(text)],
        (None, "console") => shown(lines),
        (None, _) => Vec::new(),
        _ => panic!("{note:?} before a block of {language}"),
    }
}

/// Commands begin with `$ `; what they print follows.
fn shown(lines: &[&str]) -> Vec<Step> {
    let mut steps = Vec::new();
    for line in lines {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step::Shown(command.to_owned(), String::new())),
            (None, Some(Step::Shown(_, output))) => output.push_str(&format!("{line}\n")),
            _ => panic!("a block of console begins with a command, not with {line:?}"),
        }
    }
    steps
}

#[test]
fn a_page_is_read_as_its_reader_does() {
    let page = "# A\n\n```sh\na\nb\n```\n<!-- until: x: y -->\n```sh\nc\n```\n```js\nnot a command\n```\n\
                <!-- stop: c -->\n<!-- page: http://h/p has 2 or more of #a li -->\n<!-- file: f -->\n```text\nd\n```\n\
                ```console\n$ e\nf …\n$ g\n```\n<!-- not run: why -->\n```sh\nh\n```\n";
    let steps: Vec<String> = parsed(page).iter().map(|step| format!("{step:?}")).collect();
    assert_eq!(
        steps,
        [
            r#"Run("a\nb\n")"#,
            r#"Until("c\n", "x: y")"#,
            r#"Stop("c")"#,
            r##"Has { url: "http://h/p", count: 2, or_more: true, selector: "#a li" }"##,
            r#"File("f", "d\n")"#,
            r#"Shown("e", "f …\n")"#,
            r#"Shown("g", "")"#,
            r#"NotRun("why")"#,
        ]
    );
}

//! Whether a type has a value that ends.

use super::program::{Id, Node, Program};

/// Whether each value of the root has an end: a record that is in itself has none, but one that is in itself by way of an array, a
/// map or a branch among others has.
pub(super) fn ends(program: &Program) -> bool {
    let nodes = program.nodes.len();
    // Of whom a node is a part, and how many parts of a node must end before it does.
    let mut wholes: Vec<Vec<Id>> = vec![Vec::new(); nodes];
    let mut missing = vec![0_u32; nodes];
    let mut ended = Vec::new();
    for (id, node) in (0..).zip(&program.nodes) {
        let (parts, needed) = match *node {
            Node::Record(fields) => (fields, fields.len),
            Node::Union(branches) | Node::NamedUnion(branches) => (branches, 1),
            _ => {
                ended.push(id);
                continue;
            }
        };
        for part in &program.parts[parts.range()] {
            wholes[part.node as usize].push(id);
        }
        missing[id as usize] = needed;
        if needed == 0 {
            ended.push(id);
        }
    }
    let mut root_ends = false;
    while let Some(id) = ended.pop() {
        root_ends |= id == program.root;
        for &whole in &wholes[id as usize] {
            let missing = &mut missing[whole as usize];
            match *missing {
                0 => continue,
                1 => ended.push(whole),
                _ => {}
            }
            *missing -= 1;
        }
    }
    root_ends
}

//! Which operations of a recording compute what an earlier one has computed already.

use super::program::{Node, Op, Program};

const EMPTY: u32 = u32::MAX;

/// For every node the first that computes the same from the same operands, itself if there is none.
pub(super) fn first_of_equals(program: &Program) -> Vec<u32> {
    let nodes = &program.nodes;
    let mut first: Vec<u32> = (0..nodes.len() as u32).collect();
    let mut table = vec![EMPTY; (2 * nodes.len()).next_power_of_two()];
    let mask = table.len() - 1;
    let mut keys: Vec<Option<Key>> = Vec::with_capacity(nodes.len());
    for (k, node) in nodes.iter().enumerate() {
        let key = key(program, node, &first);
        keys.push(key);
        let Some(key) = key else { continue };
        let mut at = key.hash() as usize & mask;
        loop {
            match table[at] {
                EMPTY => {
                    table[at] = k as u32;
                    break;
                }
                other if keys[other as usize] == Some(key) => {
                    first[k] = other;
                    break;
                }
                _ => at = (at + 1) & mask,
            }
        }
    }
    first
}

/// An operation with its operands; constants by their bits.
#[derive(Clone, Copy, PartialEq)]
struct Key {
    op: Op,
    a: u32,
    b: u32,
    c: u64,
}

impl Key {
    fn hash(self) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let operands = u64::from(self.a) << 32 | u64::from(self.b);
        let mixed = (operands ^ (self.op as u64) << 24).wrapping_mul(ODD) ^ self.c;
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(ODD);
        mixed ^ mixed >> 32
    }
}

fn key(program: &Program, node: &Node, first: &[u32]) -> Option<Key> {
    let at = |i: u32| first[i as usize];
    let (op, bits) = (node.op, node.c.to_bits());
    Some(match op {
        Op::Input | Op::Sum | Op::LogSumExp | Op::Primitive => return None,
        Op::Constant => Key { op, a: 0, b: 0, c: bits },
        Op::Add | Op::Multiply => {
            let (a, b) = (at(node.a), at(node.b));
            Key { op, a: a.min(b), b: a.max(b), c: bits }
        }
        Op::Subtract | Op::Divide | Op::TimesLn | Op::TimesLn1p | Op::Max | Op::Min => {
            Key { op, a: at(node.a), b: at(node.b), c: bits }
        }
        Op::IfPositive | Op::LogIndicator => match program.args[node.a as usize..node.b as usize] {
            [x, y, z] => Key { op, a: at(x), b: at(y), c: at(z).into() },
            _ => return None,
        },
        _ => Key { op, a: at(node.a), b: 0, c: bits },
    })
}

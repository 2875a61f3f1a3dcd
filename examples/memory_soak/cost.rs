//! What an object costs beside its body, by how many there are.

use seawall::store::{Config, Memory};

use crate::MIB;
use crate::objects::{Object, put, resident};

/// Bytes of the bodies.
const BODY: usize = 1024;

/// Objects with which a store begins to be looked at: of fewer, the process's own needs are more.
const FIRST: usize = 1000;

/// Responses that are stored under keys that have several each.
const OBJECTS: usize = 64_000;

/// Bytes of memory for each object: so many that nothing has to go.
const ROOM: usize = 4096;

/// A store for so many objects.
fn with_room_for(objects: usize) -> Memory {
    Memory::new(&Config { memory: objects * ROOM, max_variants: 64, ..Config::default() })
}

/// Stores up to `most` objects; whether they cost no more than they are charged, all told.
pub(crate) fn is_charged(most: usize) -> bool {
    let (store, mut stored, mut next) = (with_room_for(most), 0, FIRST);
    // What it takes before there is anything in it is charged to it as a whole.
    let before = resident();
    let mut kept = true;
    println!("{BODY} B each, beside the body:");
    while stored < most {
        let objects = next.min(most);
        for number in stored..objects {
            put(&store, Object { number, size: BODY, variant: 0 });
        }
        (stored, next) = (objects, next * 10);
        store.settle();
        let (grown, charged) = (resident().saturating_sub(before), store.budget().used());
        let each = |bytes: usize| (bytes / stored).saturating_sub(BODY);
        println!("{stored:>9} objects: {} B grown, {} B charged", each(grown), each(charged));
        kept = is_enough(charged, grown);
    }
    kept
}

/// Whether what is charged is about what the process grew by: beside the objects that are channels
/// of the map, and what comes into memory as it is first used.
const fn is_enough(charged: usize, grown: usize) -> bool {
    grown <= charged + charged / 20 + 8 * MIB
}

/// Stores objects under keys that have so many `variants` each; whether they cost no more than they
/// are charged.
pub(crate) fn of_variants(variants: usize) -> bool {
    let store = with_room_for(OBJECTS);
    let before = resident();
    for number in 0..OBJECTS {
        let (number, variant) = (number / variants, number % variants);
        put(&store, Object { number, size: BODY, variant });
    }
    store.settle();
    let (grown, charged) = (resident().saturating_sub(before), store.budget().used());
    let each = |bytes: usize| (bytes / OBJECTS).saturating_sub(BODY);
    println!("{variants:>2} variants a key: {} B grown, {} B charged", each(grown), each(charged));
    is_enough(charged, grown)
}

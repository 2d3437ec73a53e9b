//! Walks and snapshots, under zeal, on every transport.

mod support;

use std::collections::HashMap;

use support::shapes::{Shape, Shapes, get, litter, make, on_every_transport_of, value};

#[test]
fn a_snapshot_counts_what_is_reachable_and_says_who_holds_it() {
    on_every_transport_of(
        32 << 20,
        || Shapes,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            litter(&mut mutator, 500);
            let array = make(&mut mutator, Shape::Plain { slots: 100, data: 0 });
            let global = heap.global_root();
            mutator.set_global(&global, mutator.root(array));
            for slot in 1..=100 {
                let leaf = make(&mut mutator, Shape::Leaf { words: 10 });
                mutator.write(get(&mutator, array), slot, value(get(&mutator, leaf)));
                mutator.truncate_roots(1);
            }
            // A pair whose key lives, and one whose key nobody holds; a weak slot holds nothing.
            let table = make(&mut mutator, Shape::Ephemerons { pairs: 2 });
            let weak = make(&mut mutator, Shape::Weak { slots: 1, data: 0 });
            let base = mutator.root_count();
            for (word, key) in [(1, Some(array)), (3, None)] {
                let content = make(&mut mutator, Shape::Mixed);
                let key = key.unwrap_or_else(|| make(&mut mutator, Shape::Sized { number: 1 }));
                let to = value(get(&mutator, content));
                mutator.set_ephemeron(get(&mutator, table), word, mutator.root(key), to);
                mutator.write_weak(get(&mutator, weak), 1, mutator.root(key));
            }
            mutator.truncate_roots(base);
            for _ in 0..2 {
                let snapshot = mutator.blocking(|| heap.snapshot()).unwrap();
                let types: HashMap<_, _> =
                    snapshot.types.iter().map(|of| (of.name.as_str(), of)).collect();
                assert_eq!((types["leaf"].objects, types["leaf"].bytes), (100, 8000));
                assert_eq!(types["leaf"].retainers.len(), 1);
                assert_eq!(types["leaf"].retainers[0].name, "plain");
                assert_eq!(types["leaf"].retainers[0].references, 100);
                assert!(types["leaf"].example.starts_with("a global root -> plain["));
                assert_eq!(types["Mixed"].objects, 1, "the other pair's key is dead");
                assert!(!types.contains_key("Sized { number: 1 }"));
                let holders = &types["plain"].retainers;
                assert_eq!(holders.len(), 2, "a global root and a root of mutator 0: {holders:?}");
                assert_eq!(snapshot.types[0].name, "leaf", "the most bytes come first");
                let sum: u64 = snapshot.types.iter().map(|of| of.bytes).sum();
                assert_eq!(sum, snapshot.bytes);

                let objects = mutator.blocking(|| heap.walk()).unwrap();
                assert_eq!(objects.len() as u64, snapshot.objects);
                let array = objects.iter().find(|object| object.type_name == "plain").unwrap();
                assert_eq!(array.references.len(), 100);
                let table = objects.iter().find(|object| object.type_name.starts_with("Eph"));
                assert_eq!(table.unwrap().references.len(), 1);

                let json: serde_json::Value = serde_json::from_str(&snapshot.to_json()).unwrap();
                assert_eq!(json["objects"], snapshot.objects);
                assert_eq!(json["types"][0]["retainers"][0]["name"], "plain");
                mutator.collect();
            }
        },
    );
}

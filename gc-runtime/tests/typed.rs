//! Typed objects, under zeal, on every transport.

mod support;

use std::sync::atomic::Ordering;

use gc_runtime::Trace;
use gc_runtime::typed::{Any, Gc, Handle, Ref, Scope, Typed, Weak};
use support::Random;
use support::shapes::on_every_transport_of;

const LIMIT: usize = 32 << 20;

/// One field of each type there is.
#[derive(Trace)]
struct Everything {
    number: u64,
    signed: i64,
    next: Ref<Everything>,
    float: f64,
    flag: bool,
    parent: Weak<Everything>,
    letter: char,
    any: Ref<Any>,
}

#[derive(Trace)]
struct Tree {
    left: Ref<Tree>,
    right: Ref<Tree>,
    depth: u64,
}

/// No fields at all: still an object with an identity.
#[derive(Trace)]
struct Token {}

fn tree<'s>(scope: &mut Scope<'s>, depth: u64) -> Handle<'s, Tree> {
    let root = scope.alloc::<Tree>().expect("room for a tree");
    scope.write(scope.get(root).expect("just made"), Tree::DEPTH, depth);
    if depth > 0 {
        scope.scope(|inner| {
            let (left, right) = (tree(inner, depth - 1), tree(inner, depth - 1));
            let node = inner.get(root).expect("kept by its handle");
            inner.write(node, Tree::LEFT, inner.get(left));
            inner.write(node, Tree::RIGHT, inner.get(right));
        });
    }
    root
}

fn count(scope: &Scope<'_>, node: Gc<'_, Tree>) -> u64 {
    let depth = scope.read(node, Tree::DEPTH);
    let children = [scope.read(node, Tree::LEFT), scope.read(node, Tree::RIGHT)];
    let children = children.into_iter().flatten();
    1 + children
        .map(|child| {
            assert_eq!(scope.read(child, Tree::DEPTH) + 1, depth);
            count(scope, child)
        })
        .sum::<u64>()
}

#[test]
fn trees_of_typed_objects_survive_while_others_die() {
    on_every_transport_of(
        LIMIT,
        || Typed,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            mutator.scope(|scope| {
                let long = tree(scope, 12);
                for _ in 0..6 {
                    scope.scope(|inner| {
                        let short = tree(inner, 11);
                        assert_eq!(count(inner, inner.get(short).unwrap()), (1 << 12) - 1);
                    });
                    assert_eq!(count(scope, scope.get(long).unwrap()), (1 << 13) - 1);
                }
                scope.collect();
                assert_eq!(count(scope, scope.get(long).unwrap()), (1 << 13) - 1);
            });
            assert!(heap.flips() > 0, "nothing moved");
            assert_eq!(mutator.root_count(), 0, "handles go with their scope");
        },
    );
}

#[test]
fn fields_of_every_type_keep_what_is_written() {
    on_every_transport_of(
        LIMIT,
        || Typed,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            mutator.scope(|scope| {
                tree(scope, 8);
                let one = scope.alloc::<Everything>().unwrap();
                let two = scope.alloc::<Everything>().unwrap();
                let token = scope.alloc::<Token>().unwrap();
                let b_alone = scope.copy(two);
                scope.set(b_alone, None);
                let (a, b) = (scope.get(one).unwrap(), scope.get(two).unwrap());
                assert!(scope.read(a, Everything::NEXT).is_none(), "fields are null at first");
                scope.write(a, Everything::NUMBER, u64::MAX);
                scope.write(a, Everything::SIGNED, -5);
                scope.write(a, Everything::FLOAT, -0.25);
                scope.write(a, Everything::FLAG, true);
                scope.write(a, Everything::LETTER, 'ß');
                scope.write(a, Everything::NEXT, Some(b));
                scope.write(b, Everything::PARENT, Some(a));
                scope.write(a, Everything::ANY, scope.get(token).map(Gc::any));
                scope.set(two, None);
                scope.collect();
                let a = scope.get(one).unwrap();
                assert_eq!(scope.read(a, Everything::NUMBER), u64::MAX);
                assert_eq!(scope.read(a, Everything::SIGNED), -5);
                assert!((scope.read(a, Everything::FLOAT) + 0.25).abs() < f64::EPSILON);
                assert!(scope.read(a, Everything::FLAG));
                assert_eq!(scope.read(a, Everything::LETTER), 'ß');
                let b = scope.read(a, Everything::NEXT).expect("a strong field keeps it");
                assert_eq!(scope.read(b, Everything::PARENT), Some(a));
                let any = scope.read(a, Everything::ANY).unwrap();
                assert!(scope.downcast::<Token>(any).is_some());
                assert!(scope.downcast::<Tree>(any).is_none(), "kinds are told apart");
                // Only the weak field is left.
                scope.set(b_alone, Some(b));
                scope.set(one, None);
                scope.collect();
                let b = scope.get(b_alone).unwrap();
                assert_eq!(scope.read(b, Everything::PARENT), None);
            });
        },
    );
}

#[test]
fn arrays_bytes_and_tables_of_typed_objects_move() {
    on_every_transport_of(
        LIMIT,
        || Typed,
        |heap| {
            let mut mutator = heap.attach().unwrap();
            mutator.scope(|scope| {
                let mut random = Random::new(6);
                tree(scope, 9);
                let array = scope.alloc_array::<Tree>(3000).unwrap();
                let weak = scope.alloc_weak_array::<Tree>(3000).unwrap();
                let table = scope.alloc_ephemerons(3000).unwrap();
                for index in 0..3000 {
                    scope.scope(|inner| {
                        let node = inner.alloc::<Tree>().unwrap();
                        let text = inner.alloc_bytes(index % 50).unwrap();
                        let (node, text) = (inner.get(node).unwrap(), inner.get(text).unwrap());
                        inner.write(node, Tree::DEPTH, u64::from(index));
                        for (at, byte) in inner.bytes(text).iter().enumerate() {
                            byte.store((index as usize + at).to_le_bytes()[0], Ordering::Relaxed);
                        }
                        let (array, weak) = (inner.get(array).unwrap(), inner.get(weak).unwrap());
                        inner.set_at(array, index, Some(node));
                        inner.set_weak_at(weak, index, Some(node));
                        let table = inner.get(table).unwrap();
                        inner.set_ephemeron(table, index, Some(node.any()), Some(text.any()));
                    });
                }
                for _ in 0..3 {
                    for _ in 0..500 {
                        let index = random.words_below(3000);
                        scope.set_at(scope.get(array).unwrap(), index, None);
                    }
                    scope.collect();
                    let (array, weak) = (scope.get(array).unwrap(), scope.get(weak).unwrap());
                    let table = scope.get(table).unwrap();
                    assert_eq!((scope.len(array), scope.len(table)), (3000, 3000));
                    for index in 0..3000 {
                        let node = scope.at(array, index);
                        assert_eq!(scope.weak_at(weak, index), node);
                        let pair = scope.ephemeron(table, index);
                        assert_eq!(pair.map(|(key, _)| key), node.map(Gc::any));
                        let Some(node) = node else { continue };
                        assert_eq!(scope.read(node, Tree::DEPTH), u64::from(index));
                        let text = pair.and_then(|(_, text)| scope.downcast(text?)).unwrap();
                        let bytes = scope.bytes(text);
                        assert_eq!(bytes.len(), index as usize % 50);
                        for (at, byte) in bytes.iter().enumerate() {
                            let expected = (index as usize + at).to_le_bytes()[0];
                            assert_eq!(byte.load(Ordering::Relaxed), expected);
                        }
                    }
                }
                let kinds = scope.heap().clone();
                let snapshot = scope.blocking(|| kinds.snapshot()).unwrap();
                let names: Vec<_> = snapshot.types.iter().map(|of| of.name.as_str()).collect();
                for name in ["Array<Tree>", "WeakArray<Tree>", "Bytes", "Tree", "EphemeronTable"] {
                    assert!(names.contains(&name), "{names:?}");
                }
            });
        },
    );
}

#[test]
fn globals_are_shared_between_threads_and_finalisers_come_with_their_tag() {
    on_every_transport_of(
        LIMIT,
        || Typed,
        |heap| {
            let shared = heap.global::<Tree>();
            std::thread::scope(|threads| {
                let (heap, shared) = (&heap, &shared);
                threads.spawn(move || {
                    heap.attach().unwrap().scope(|scope| {
                        let root = tree(scope, 7);
                        scope.set_global(shared, scope.get(root));
                        let lost = scope.alloc::<Token>().unwrap();
                        scope.register_finaliser(scope.get(lost).unwrap(), 99);
                    });
                });
            });
            let mut mutator = heap.attach().unwrap();
            mutator.scope(|scope| {
                scope.collect();
                let root = scope.get_global(&shared).expect("a thread has stored it");
                assert_eq!(count(scope, root), (1 << 8) - 1);
                let (object, tag) = scope.next_finalisable().expect("nobody holds it");
                assert_eq!(tag, 99);
                assert!(scope.downcast::<Token>(object).is_some());
            });
        },
    );
}

#[test]
#[should_panic(expected = "another thread or heap")]
fn a_handle_of_another_heap_is_refused() {
    let heaps = [0, 1].map(|_| gc_runtime::typed::heap().limit_bytes(1 << 20).build().unwrap());
    let (mut one, mut two) = (heaps[0].attach().unwrap(), heaps[1].attach().unwrap());
    one.scope(|one| {
        let handle = one.alloc::<Token>().unwrap();
        two.scope(|two| assert!(two.get(handle).is_none()));
    });
}

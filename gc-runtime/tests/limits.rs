//! Arguments out of range are refused, and the message says which and what the range is.

mod support;

use gc_runtime::{BuildError, FaultDelivery, Heap, HeapBuilder, Transport, TransportChoice};

fn refusal(builder: HeapBuilder) -> BuildError {
    builder.build().expect_err("the builder refuses this")
}

fn assert_names(error: &BuildError, words: &[String]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "`{message}` does not say `{word}`");
    }
}

#[test]
fn a_limit_out_of_range_is_refused_with_the_range() {
    for limit in [0, 1, 4096, usize::MAX] {
        let error = refusal(Heap::builder().limit_bytes(limit));
        let BuildError::Limit { limit_bytes, min, max } = error else {
            panic!("{error}");
        };
        assert_eq!(limit_bytes, limit);
        assert!(min < max && !(min..=max).contains(&limit));
        let words = ["limit_bytes".to_owned(), min.to_string(), max.to_string()];
        assert_names(&error, &words);
    }
}

#[test]
fn the_limits_named_in_the_message_are_accepted() {
    let error = refusal(Heap::builder().limit_bytes(0));
    let BuildError::Limit { min, max, .. } = error else { panic!("{error}") };
    support::on_every_transport(
        || Heap::builder().limit_bytes(min),
        |heap| {
            assert_eq!(heap.limit_bytes(), min);
            let mut mutator = heap.attach().unwrap();
            support::counted_list(&mut mutator, 10, 3);
            mutator.collect();
            support::verify(&mut mutator);
        },
    );
    assert!(Heap::builder().limit_bytes(max).build().is_ok());
    assert!(Heap::builder().limit_bytes(max + 1).build().is_err());
}

#[test]
fn a_limit_is_rounded_up_to_whole_pages() {
    let page = uffd_move::page_size();
    let heap = Heap::builder().limit_bytes(1000 * page + 1).build().unwrap();
    assert_eq!(heap.limit_bytes(), 1001 * page);
}

#[test]
fn collector_threads_out_of_range_are_refused_with_the_range() {
    for threads in [0, 65, usize::MAX] {
        let error = refusal(Heap::builder().collector_threads(threads));
        assert!(
            matches!(error, BuildError::CollectorThreads { threads: named, .. } if named == threads)
        );
        let words = ["collector_threads".to_owned(), threads.to_string(), "1 to 64".to_owned()];
        assert_names(&error, &words);
    }
    assert!(Heap::builder().limit_bytes(1 << 20).collector_threads(64).build().is_ok());
}

#[test]
fn mprotect_without_signals_is_refused_by_name() {
    let error = refusal(
        Heap::builder()
            .transport(TransportChoice::Only(Transport::Mprotect))
            .fault_delivery(FaultDelivery::HandlerThread),
    );
    assert!(matches!(error, BuildError::NoDelivery { transport: Transport::Mprotect, .. }));
    assert_names(&error, &["mprotect".to_owned(), "HandlerThread".to_owned(), "signal".to_owned()]);
}

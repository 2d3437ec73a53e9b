use super::*;
use crate::page::page_size;

fn message(event: u8, words: [u64; 3]) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [0; MESSAGE_BYTES];
    bytes[0] = event;
    for (i, word) in words.into_iter().enumerate() {
        bytes[8 + 8 * i..16 + 8 * i].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn decoded_fault(words: [u64; 3]) -> Fault {
    match Event::from_kernel(&message(uapi::UFFD_EVENT_PAGEFAULT, words)) {
        Event::Fault(fault) => fault,
        other => panic!("a fault was decoded as {other:?}"),
    }
}

#[test]
fn a_missing_page_is_decoded_with_its_address_and_thread() {
    let mut thread = [0; 8];
    thread[..4].copy_from_slice(&77_u32.to_ne_bytes());
    let fault = decoded_fault([0, 0x7000_1234, u64::from_ne_bytes(thread)]);
    assert_eq!(fault.addr, 0x7000_1234);
    assert_eq!((fault.kind, fault.access), (FaultKind::Missing, Access::Read));
    assert_eq!(fault.thread, Some(77));
    assert!(fault.page().get() <= fault.addr);
}

#[test]
fn a_fault_without_the_thread_feature_names_no_thread() {
    assert_eq!(decoded_fault([0, 0x1000, 0]).thread, None);
}

#[test]
fn flags_decide_the_kind_and_the_access() {
    let write = uapi::UFFD_PAGEFAULT_FLAG_WRITE;
    let protected = decoded_fault([write | uapi::UFFD_PAGEFAULT_FLAG_WP, 0, 0]);
    assert_eq!((protected.kind, protected.access), (FaultKind::WriteProtect, Access::Write));
    let minor = decoded_fault([uapi::UFFD_PAGEFAULT_FLAG_MINOR, 0, 0]);
    assert_eq!((minor.kind, minor.access), (FaultKind::Minor, Access::Read));
}

#[test]
fn removed_and_unmapped_ranges_come_as_ranges() {
    let page = page_size() as u64;
    let words = [2 * page, 5 * page, 0];
    let expected = PageRange::from_bytes(2 * page_size(), 3 * page_size()).unwrap();
    match Event::from_kernel(&message(uapi::UFFD_EVENT_REMOVE, words)) {
        Event::Remove(range) => assert_eq!(range, expected),
        other => panic!("{other:?}"),
    }
    match Event::from_kernel(&message(uapi::UFFD_EVENT_UNMAP, words)) {
        Event::Unmap(range) => assert_eq!(range, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_remap_comes_with_both_addresses_and_the_length() {
    match Event::from_kernel(&message(uapi::UFFD_EVENT_REMAP, [1, 2, 3])) {
        Event::Remap { from, to, len } => assert_eq!((from, to, len), (1, 2, 3)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_of_a_later_kernel_is_kept_with_its_number() {
    match Event::from_kernel(&message(0x77, [0; 3])) {
        Event::Unknown { code } => assert_eq!(code, 0x77),
        other => panic!("{other:?}"),
    }
}

//! How the two things the kernel says are joined: one test per encoding.

use super::*;
use crate::sys::{FakeAnswer, FakeKernel, FakePage};

struct Stage {
    kernel: FakeKernel,
    to: PageRange,
    from: PageRange,
}

fn stage() -> Stage {
    let kernel = FakeKernel::new();
    let to = kernel.map(PageCount::new(4), FakePage::Missing);
    let from = kernel.map(PageCount::new(4), FakePage::Present);
    kernel.register(to);
    Stage { kernel, to, from }
}

fn bytes(pages: i64) -> i64 {
    pages * i64::try_from(page_size()).unwrap()
}

impl Stage {
    fn do_move(&self) -> Result<Outcome, OpError> {
        // SAFETY: the kernel's own memory, into which nobody has a reference.
        unsafe { move_pages(&self.kernel, self.to, self.from.start(), Holes::Reject, Wake::Now) }
    }

    fn do_copy(&self) -> Result<Outcome, OpError> {
        // SAFETY: as above; the source is as long as the destination.
        unsafe { copy_pages(&self.kernel, self.to, self.from.start().as_mut_ptr(), Wake::Now) }
    }

    fn do_continue(&self) -> Result<Outcome, OpError> {
        // SAFETY: as above.
        unsafe { continue_pages(&self.kernel, self.to, Wake::Now) }
    }

    fn do_zero(&self) -> Result<Outcome, OpError> {
        // SAFETY: as above.
        unsafe { zero_pages(&self.kernel, self.to, Wake::Now) }
    }

    fn answer(&self, errno: Errno, field: Option<i64>) {
        self.kernel.script([FakeAnswer::Fail { errno, field }]);
    }
}

fn outcome(done: usize, stop: Stop) -> Outcome {
    Outcome { done: PageCount::new(done), stop }
}

#[test]
fn all_three_encodings_of_again_keep_the_progress() {
    type Request = fn(&Stage) -> Result<Outcome, OpError>;
    let requests: [Request; 4] =
        [Stage::do_move, Stage::do_copy, Stage::do_continue, Stage::do_zero];
    for request in requests {
        let stage = stage();
        stage.answer(Errno::EAGAIN, Some(bytes(3)));
        assert_eq!(request(&stage), Ok(outcome(3, Stop::Again)), "the field has bytes");
        stage.answer(Errno::EAGAIN, Some(-i64::from(libc::EAGAIN)));
        assert_eq!(request(&stage), Ok(outcome(0, Stop::Again)), "the field has the errno");
        stage.answer(Errno::EAGAIN, None);
        assert_eq!(request(&stage), Ok(outcome(0, Stop::Again)), "the field is untouched");
    }
}

#[test]
fn everyday_answers_of_a_move_are_outcomes() {
    let stage = stage();
    for (errno, stop) in
        [(Errno::EEXIST, Stop::Present), (Errno::ENOENT, Stop::Hole), (Errno::EBUSY, Stop::Busy)]
    {
        stage.answer(errno, Some(-i64::from(errno as i32)));
        assert_eq!(stage.do_move(), Ok(outcome(0, stop)));
    }
    assert_eq!(stage.do_move(), Ok(outcome(4, Stop::Complete)));
}

#[test]
fn what_is_everyday_for_a_move_is_an_error_for_a_copy() {
    let stage = stage();
    for errno in [Errno::ENOENT, Errno::EBUSY] {
        stage.answer(errno, Some(-i64::from(errno as i32)));
        let error = stage.do_copy().unwrap_err();
        assert_eq!((error.op, error.errno, error.done), (Op::Copy, errno, PageCount::ZERO));
    }
    stage.answer(Errno::EEXIST, Some(-i64::from(libc::EEXIST)));
    assert_eq!(stage.do_copy(), Ok(outcome(0, Stop::Present)));
}

#[test]
fn a_continue_tells_a_page_missing_in_the_cache_from_an_unreadable_request() {
    let stage = stage();
    stage.answer(Errno::EFAULT, Some(-i64::from(libc::EFAULT)));
    assert_eq!(stage.do_continue(), Ok(outcome(0, Stop::Hole)));
    stage.answer(Errno::EFAULT, None);
    assert_eq!(stage.do_continue().unwrap_err().errno, Errno::EFAULT);
}

#[test]
fn an_error_with_progress_keeps_the_progress() {
    let stage = stage();
    stage.answer(Errno::ENOMEM, Some(bytes(2)));
    let error = stage.do_move().unwrap_err();
    assert_eq!((error.errno, error.done.get(), error.range), (Errno::ENOMEM, 2, stage.to));
    let text = error.to_string();
    assert!(text.starts_with("move of 0x") && text.contains("after 2 pages"), "{text}");
}

#[test]
fn nonsense_in_the_field_claims_no_more_than_was_asked_for() {
    let stage = stage();
    stage.answer(Errno::EAGAIN, Some(i64::MAX));
    assert_eq!(stage.do_move(), Ok(outcome(4, Stop::Complete)));
    stage.answer(Errno::EAGAIN, Some(i64::MIN));
    assert_eq!(stage.do_move(), Ok(outcome(0, Stop::Again)));
    stage.answer(Errno::EAGAIN, Some(bytes(1) + 7));
    assert_eq!(stage.do_move(), Ok(outcome(1, Stop::Again)));
}

#[test]
fn modes_reach_the_kernel_as_bits() {
    let stage = stage();
    // SAFETY: the kernel's own memory, into which nobody has a reference.
    let answer = unsafe {
        move_pages(&stage.kernel, stage.to, stage.from.start(), Holes::Skip, Wake::Later)
    };
    assert_eq!(answer, Ok(outcome(4, Stop::Complete)));
    let call = stage.kernel.calls()[0];
    assert_eq!((call.op, call.mode, call.range), (Op::Move, 0b11, Some(stage.to)));
}

#[test]
fn a_move_takes_the_contents_along_and_leaves_holes() {
    let stage = stage();
    stage.kernel.fill(stage.from, 9);
    assert_eq!(stage.do_move(), Ok(outcome(4, Stop::Complete)));
    assert_eq!(stage.kernel.byte(stage.to.end().get() - 1), 9);
    assert_eq!(stage.kernel.byte(stage.from.start().get()), 0);
    assert_eq!(stage.kernel.page(stage.from.start()), Some(FakePage::Missing));
    assert_eq!(stage.kernel.page(stage.to.start()), Some(FakePage::Present));
}

#[test]
fn registering_keeps_bits_without_a_name() {
    let stage = stage();
    // SAFETY: nobody waits for pages of the fake kernel.
    let ioctls = unsafe { register(&stage.kernel, stage.from, RegisterMode::MISSING) }.unwrap();
    assert_eq!(ioctls.bits(), u64::MAX);
    // SAFETY: as above.
    assert_eq!(unsafe { unregister(&stage.kernel, stage.from) }, Ok(()));
    // SAFETY: as above.
    assert_eq!(unsafe { wake_pages(&stage.kernel, stage.to) }, Ok(()));
}

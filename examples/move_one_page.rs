//! One page, one fault, one move: the request that the whole project is about.
//!
//! ```text
//! cargo run --example move_one_page
//! ```
#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::atomic::Ordering;
use std::thread;

use uffd_move::{Area, Blocking, Event, EventBuffer, Holes, OpenOptions, PageCount};
use uffd_move::{RegisterMode, Registration, Wake};

fn main() -> Result<(), Box<dyn Error>> {
    // Two pages of memory: one is full, the other was never touched.
    let source = Area::anonymous(PageCount::ONE)?;
    source.write(0, b"the page itself");
    let destination = Area::anonymous(PageCount::ONE)?;

    // From now on, touching the second one is a fault that comes to us.
    let opened = OpenOptions::new().blocking(Blocking::Block).open()?;
    let registration = Registration::new(&opened.uffd, destination, RegisterMode::MISSING)?;
    let mover = registration
        .mover()
        .ok_or("this kernel cannot move pages; `gc-demo probe` says what it can do")?;
    let destination = registration.area();

    thread::scope(|scope| {
        // This thread touches the page and waits in the kernel.
        let reader = scope.spawn(|| destination.byte(4).map(|byte| byte.load(Ordering::Relaxed)));

        let mut events = EventBuffer::new(1);
        if let Some(Event::Fault(fault)) = events.read(&opened.uffd)?.next() {
            println!("a thread waits for the page at {:#x}", fault.addr);
        }
        let page = registration.range();
        let outcome = mover.move_pages(page, &source, source.range(), Holes::Reject, Wake::Now)?;
        println!("moved: {outcome:?}");

        let byte = reader.join().expect("reading does not panic");
        println!("the thread reads {:?}", byte.map(char::from));
        // The page has left its old address: what is there now is a fresh page of zeros.
        let left = source.byte(4).map(|byte| byte.load(Ordering::Relaxed));
        println!("and the old address {left:?}");
        assert_eq!((byte, left), (Some(b'p'), Some(0)));
        Ok(())
    })
}

//! Requests on pages by themselves: nanoseconds a call for each run length, by criterion.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use benches::raw::{Delivery, Spaces};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use uffd_move::page_size;

/// Pages in one request.
const RUNS: [usize; 6] = [1, 4, 16, 64, 256, 1024];

/// Pages of a space; each is put in place once before all are taken away again, untimed.
const PAGES: usize = 4096;

/// Times `request` for `times` runs of `run` pages, over missing pages of a registered space.
fn timed(
    times: u64,
    run: usize,
    renew: impl Fn(&Spaces),
    request: impl Fn(&Spaces, usize),
) -> Duration {
    let spaces = Spaces::new(PAGES, Delivery::Nobody).expect("the probe said that it can be had");
    spaces.register().expect("private memory can be registered");
    let (mut took, mut page) = (Duration::ZERO, PAGES);
    for _ in 0..times {
        if page + run > PAGES {
            spaces.discard_heap(0..PAGES);
            renew(&spaces);
            page = 0;
        }
        let began = Instant::now();
        request(&spaces, page);
        took += began.elapsed();
        page += run;
    }
    took
}

fn pages(criterion: &mut Criterion) {
    if let Err(error) = Spaces::new(1, Delivery::Nobody) {
        eprintln!("skipped: no pages can be moved here: {error}");
        return;
    }
    let words = page_size() / size_of::<u64>();
    let buffer: Vec<AtomicU64> = (0..1024 * words).map(|_| AtomicU64::new(1)).collect();
    let touch = |spaces: &Spaces| {
        let one_a_page = spaces.from().iter().step_by(words);
        one_a_page.for_each(|word| word.store(1, std::sync::atomic::Ordering::Relaxed));
    };
    let nothing = |_: &Spaces| ();
    let mut group = criterion.benchmark_group("pages");
    for run in RUNS {
        group.throughput(Throughput::Elements(u64::try_from(run).expect("a small number")));
        group.bench_function(BenchmarkId::new("move", run), |bencher| {
            bencher.iter_custom(|times| {
                timed(times, run, touch, |spaces, page| {
                    let moved = spaces.move_pages(page, page, run).expect("nothing is in the way");
                    assert!(moved.is_complete(), "{moved:?}");
                })
            });
        });
        group.bench_function(BenchmarkId::new("copy", run), |bencher| {
            bencher.iter_custom(|times| {
                timed(times, run, nothing, |spaces, page| {
                    let bytes = &buffer[..run * words];
                    let copied = spaces.copy_pages(page, bytes).expect("nothing is in the way");
                    assert!(copied.is_complete(), "{copied:?}");
                })
            });
        });
        group.bench_function(BenchmarkId::new("zeropage", run), |bencher| {
            bencher.iter_custom(|times| {
                timed(times, run, nothing, |spaces, page| {
                    let filled = spaces.zero_pages(page, run).expect("nothing is in the way");
                    assert!(filled.is_complete(), "{filled:?}");
                })
            });
        });
    }
    group.finish();
    continued(criterion);
}

/// The page cache has the pages; they are only mapped.
fn continued(criterion: &mut Criterion) {
    use uffd_move::{Area, Features, OpenOptions, PageCount, RegisterMode, Registration, Wake};
    let features = Features::MINOR_SHMEM | Features::MISSING_SHMEM;
    let Ok(opened) = OpenOptions::new().require(features).open() else {
        eprintln!("skipped: this kernel has no UFFDIO_CONTINUE");
        return;
    };
    let mut group = criterion.benchmark_group("pages");
    for run in RUNS {
        group.throughput(Throughput::Elements(u64::try_from(run).expect("a small number")));
        group.bench_function(BenchmarkId::new("continue", run), |bencher| {
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                let per_file = u64::try_from(PAGES / run).expect("a small number");
                let mut left = times;
                while left > 0 {
                    let file = tempfile::tempfile_in("/dev/shm").expect("a shared-memory file");
                    let whole = PageCount::new(PAGES);
                    file.set_len(u64::try_from(whole.bytes()).expect("64 bits")).expect("room");
                    let map = || memmap2::MmapOptions::new().len(whole.bytes()).map_raw(&file);
                    let view = Area::try_from(map().expect("addresses")).expect("whole pages");
                    view.touch(0, whole.bytes(), uffd_move::raw::Access::Write);
                    let area = Area::try_from(map().expect("addresses")).expect("whole pages");
                    let registration =
                        Registration::new(&opened.uffd, area, RegisterMode::MINOR).expect("minor");
                    let continuer = registration.continuer().expect("it was offered");
                    for number in 0..left.min(per_file) {
                        let first = usize::try_from(number).expect("a small number") * run;
                        let to = registration.area().pages(first, run).expect("inside");
                        let began = Instant::now();
                        let mapped = continuer.continue_pages(to, Wake::Later).expect("present");
                        took += began.elapsed();
                        assert!(mapped.is_complete(), "{mapped:?}");
                    }
                    left -= left.min(per_file);
                }
                took
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = requests;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2));
    targets = pages
}
criterion_main!(requests);

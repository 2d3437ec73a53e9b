//! Instructions that not every processor of the target has.

/// Runs `work`, compiled with population count and bit scan instructions where there are such.
///
/// Forwarding counts bits for every reference; without the instruction that takes ten times as
/// long. `work` must be inlined (`#[inline(always)]`) for this to have an effect.
#[inline(always)]
pub(crate) fn with_bit_counting<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
    {
        #[target_feature(enable = "popcnt,bmi1,bmi2,lzcnt")]
        fn counting<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: the processor has the instructions, it was asked just now (the answer is cached
        // in an atomic by the standard library).
        return unsafe { counting(work) };
    }
    work()
}

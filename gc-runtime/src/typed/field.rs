//! Fields: what the word of an object is in Rust.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use crate::local::Local;
use crate::mutator::{Mutator, address_of};
use crate::typed::gc::{Gc, Kind, Ref, Weak};
use crate::typed::types::Typed;

/// A field of the objects that `T` describes; `#[derive(Trace)]` makes one constant for each.
pub struct Field<T, F> {
    pub(crate) word: u32,
    of: PhantomData<fn(T) -> F>,
}

impl<T, F: FieldType> Field<T, F> {
    /// The field in word `word`, the header being word 0. For the derive macro.
    #[must_use]
    pub const fn at(word: u32) -> Self {
        Self { word, of: PhantomData }
    }
}

impl<T, F> Clone for Field<T, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, F> Copy for Field<T, F> {}

impl<T, F> fmt::Debug for Field<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({})", self.word)
    }
}

/// Types that fields can have.
pub trait FieldType: private::Access {
    /// What a program reads and writes.
    type Value<'m>;
    /// 1 if the field is a slot that keeps its object alive.
    const STRONG: u64;
    /// 1 if the field is a slot that does not.
    const WEAK: u64;

    /// Reads the field in word `word`.
    fn read<'m>(mutator: &'m Mutator<Typed>, object: Local<'m>, word: u32) -> Self::Value<'m>;

    /// Writes the field in word `word`.
    fn write(mutator: &Mutator<Typed>, object: Local<'_>, word: u32, value: Self::Value<'_>);
}

mod private {
    /// Only this crate knows what a word may hold.
    pub trait Access {}
}

macro_rules! data {
    ($($type:ty: |$read:ident| $from:expr, |$written:ident| $to:expr;)*) => {$(
        impl private::Access for $type {}

        impl FieldType for $type {
            type Value<'m> = $type;
            const STRONG: u64 = 0;
            const WEAK: u64 = 0;

            #[inline]
            fn read<'m>(mutator: &'m Mutator<Typed>, object: Local<'m>, word: u32) -> $type {
                let $read = mutator.raw_word(object, word).load(Ordering::Relaxed);
                $from
            }

            #[inline]
            fn write(mutator: &Mutator<Typed>, object: Local<'_>, word: u32, $written: $type) {
                mutator.raw_word(object, word).store($to, Ordering::Relaxed);
            }
        }
    )*};
}

data! {
    u64: |word| word, |value| value;
    i64: |word| word.cast_signed(), |value| value.cast_unsigned();
    f64: |word| f64::from_bits(word), |value| value.to_bits();
    bool: |word| word != 0, |value| u64::from(value);
    char: |word| u32::try_from(word).ok().and_then(char::from_u32).unwrap_or('\0'),
        |value| u64::from(u32::from(value));
}

impl<T> private::Access for Ref<T> {}

impl<T: Kind> FieldType for Ref<T> {
    type Value<'m> = Option<Gc<'m, T>>;
    const STRONG: u64 = 1;
    const WEAK: u64 = 0;

    #[inline]
    fn read<'m>(mutator: &'m Mutator<Typed>, object: Local<'m>, word: u32) -> Self::Value<'m> {
        Local::from_value(mutator.read(object, word)).map(Gc::new)
    }

    #[inline]
    fn write(mutator: &Mutator<Typed>, object: Local<'_>, word: u32, value: Self::Value<'_>) {
        mutator.write(object, word, address_of(value.map(|value| value.local)));
    }
}

impl<T> private::Access for Weak<T> {}

impl<T: Kind> FieldType for Weak<T> {
    type Value<'m> = Option<Gc<'m, T>>;
    const STRONG: u64 = 0;
    const WEAK: u64 = 1;

    #[inline]
    fn read<'m>(mutator: &'m Mutator<Typed>, object: Local<'m>, word: u32) -> Self::Value<'m> {
        mutator.read_weak(object, word).map(Gc::new)
    }

    #[inline]
    fn write(mutator: &Mutator<Typed>, object: Local<'_>, word: u32, value: Self::Value<'_>) {
        mutator.write_weak(object, word, value.map(|value| value.local));
    }
}

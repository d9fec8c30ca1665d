//! Whatever a policy wishes, what the guards of scaling and tuning let through is within every bound.

mod scaling;
mod tuning;

use proptest::prelude::*;
use topology::measured::Resources;

const GIB: u64 = 1 << 30;

/// Numbers of which many are near the ones that matter.
pub fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..12_u64, 400..9_000_u64, (0..24_u64).prop_map(|gib| gib * GIB), any::<u64>()]
}

pub fn maybe<T: Clone + std::fmt::Debug + 'static>(of: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Option<T>> {
    proptest::option::of(of).boxed()
}

pub fn some_resources() -> impl Strategy<Value = Resources> {
    (maybe(number()), maybe(number()))
        .prop_map(|(cpu_millicores, memory_bytes)| Resources { cpu_millicores, memory_bytes })
}

//! Faults that are planted in the real code, so that each conformance case can be shown to fail.
//!
//! They exist only in builds with `--cfg strait_faults`, which nothing but `xtask/planted.sh` sets; everywhere else
//! [`planted!`](crate::planted) is the constant `false`.

/// Whether the fault `$name` is planted in this process.
#[doc(hidden)]
#[macro_export]
macro_rules! planted {
    ($name:literal) => {
        cfg!(strait_faults) && $crate::faults::is($name)
    };
}

/// Whether this process was asked for the fault `name`, through the variable `STRAIT_FAULT`.
#[must_use]
pub fn is(name: &str) -> bool {
    static PLANTED: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("STRAIT_FAULT").ok());
    PLANTED.as_deref() == Some(name)
}

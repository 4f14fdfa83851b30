//! The seeds of a fuzz target, as an ordinary test runs them.

use std::{fs, path::Path};

/// Runs what a target runs, on each of its seeds.
pub(crate) fn each(target: &str, run: impl Fn(&[u8])) {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join("fuzz/seeds").join(target));
    let folder = { above }.find(|folder| folder.is_dir()).unwrap_or_else(|| panic!("{target} has no seeds"));
    let seeds = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut count = 0;
    for seed in seeds {
        let path = seed.expect("the folder can be read").path();
        eprintln!("{}", path.display()); // shown if it fails
        run(&fs::read(&path).expect("a seed can be read"));
        count += 1;
    }
    assert!(count > 0, "{target} has no seeds");
}

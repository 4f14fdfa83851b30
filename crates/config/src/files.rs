use std::path::{Path, PathBuf};

/// One file, or several of which later ones win.
pub trait IntoFiles {
    /// Their paths.
    fn into_files(self) -> Vec<PathBuf>;
}

/// Each of these is one path.
macro_rules! one_file {
    ($($path:ty),*) => {
        $(impl IntoFiles for $path {
            fn into_files(self) -> Vec<PathBuf> {
                vec![self.into()]
            }
        })*
    };
}

one_file!(&str, String, &String, &Path, PathBuf, &PathBuf);

impl<P: AsRef<Path>, const N: usize> IntoFiles for [P; N] {
    fn into_files(self) -> Vec<PathBuf> {
        self.as_slice().into_files()
    }
}

impl<P: AsRef<Path>> IntoFiles for Vec<P> {
    fn into_files(self) -> Vec<PathBuf> {
        self.as_slice().into_files()
    }
}

impl<P: AsRef<Path>> IntoFiles for &[P] {
    fn into_files(self) -> Vec<PathBuf> {
        self.iter().map(|path| path.as_ref().into()).collect()
    }
}

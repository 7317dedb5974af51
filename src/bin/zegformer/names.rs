//! What the results of each photo are called.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// One photo and the beginning of its results' names.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    /// The photo.
    pub photo: PathBuf,
    /// Its file name without the extension, or, where another photo has that name, with `-2`, `-3`, … behind it.
    pub stem: String,
}

/// Gives each photo a name of its own. Names are compared without regard to case, as some file systems do. A photo that is
/// listed twice is taken once.
pub fn jobs(photos: &[PathBuf]) -> Vec<Job> {
    let mut listed = HashSet::new();
    let photos: Vec<&PathBuf> = photos.iter().filter(|photo| listed.insert(*photo)).collect();
    // A photo that is called `cat-2` keeps that name, also if it comes after two that are called `cat`.
    let mut taken: HashSet<String> = photos.iter().map(|photo| stem(photo).to_lowercase()).collect();
    let mut given = HashSet::new();
    let job = |photo: &PathBuf| {
        let plain = stem(photo);
        if given.insert(plain.to_lowercase()) {
            return Job { photo: photo.clone(), stem: plain };
        }
        let numbered = (2..).map(|number| format!("{plain}-{number}")).find(|name| taken.insert(name.to_lowercase()));
        Job { photo: photo.clone(), stem: numbered.unwrap_or(plain) }
    };
    photos.into_iter().map(job).collect()
}

/// The photo's file name as far as it can be shown.
pub fn file_name(photo: &Path) -> String {
    photo.file_name().map_or_else(|| "photo".into(), |name| name.to_string_lossy().into_owned())
}

fn stem(photo: &Path) -> String {
    photo.file_stem().map_or_else(|| "photo".into(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stems(photos: &[&str]) -> Vec<String> {
        let photos: Vec<PathBuf> = photos.iter().map(PathBuf::from).collect();
        jobs(&photos).into_iter().map(|job| job.stem).collect()
    }

    #[test]
    fn each_photo_has_a_name_of_its_own() {
        assert_eq!(stems(&["a/cat.jpg", "dog.png"]), ["cat", "dog"]);
        assert_eq!(stems(&["a/cat.jpg", "b/cat.jpg", "cat.png"]), ["cat", "cat-2", "cat-3"]);
        assert_eq!(stems(&["cat.jpg", "Cat.jpg"]), ["cat", "Cat-2"]);
        assert_eq!(stems(&["cat.jpg", "a/cat.jpg", "cat-2.jpg"]), ["cat", "cat-3", "cat-2"]);
        assert_eq!(stems(&["cat.jpg", "cat.jpg"]), ["cat"]);
        assert_eq!(stems(&["archive.tar.gz", ".hidden", ".."]), ["archive.tar", ".hidden", "photo"]);
    }
}

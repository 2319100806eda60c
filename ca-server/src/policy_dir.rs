//! Reads a policies folder from disk: which files count, how large they may be, where links may lead. What they say is
//! `signet_core::policy_set`'s business.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use signet_core::mistake::Mistake;
use signet_core::policy_set::{BREAKGLASS_FILE, PolicySet};

/// Largest file, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Most bytes in all files together.
const TOTAL_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Most files.
const FILES_MAX: usize = 50_000;
/// Deepest folder below the policies folder.
const DEPTH_MAX: usize = 8;

/// Extensions of files that say something.
const EXTENSIONS: [&str; 3] = ["toml", "json", "cedar"];

/// Reads a policies folder and everything in it.
///
/// # Errors
/// Every mistake: files that cannot be read, and then everything that is wrong in them.
pub fn read(folder: &Path) -> Result<PolicySet, Vec<Mistake>> {
    PolicySet::from_files(&read_files(folder)?)
}

/// Reads the files of a policies folder: path relative to the folder, with `/` → text.
///
/// # Errors
/// A mistake for each file that cannot be read, is too large, is no text or does not belong there.
pub fn read_files(folder: &Path) -> Result<BTreeMap<String, String>, Vec<Mistake>> {
    let root = folder
        .canonicalize()
        .map_err(|error| vec![unreadable(&folder.display().to_string(), &error)])?;
    let mut reading = Reading {
        root: root.clone(),
        files: BTreeMap::new(),
        bytes: 0,
        mistakes: Vec::new(),
    };
    reading.folder(&root, "", 0);
    if reading.mistakes.is_empty() {
        Ok(reading.files)
    } else {
        Err(reading.mistakes)
    }
}

struct Reading {
    root: PathBuf,
    files: BTreeMap<String, String>,
    bytes: u64,
    mistakes: Vec<Mistake>,
}

impl Reading {
    /// Walks a folder. `name` is its path below the policies folder, empty or ending in `/`.
    fn folder(&mut self, folder: &Path, name: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return self.mistake(name, format!("folders are nested more than {DEPTH_MAX} deep"));
        }
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                return self
                    .mistakes
                    .push(unreadable(if name.is_empty() { "." } else { name }, &error));
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            match entry.file_name().to_str() {
                // Version control, editors and mounted volumes keep their own things in names like these.
                Some(file) if file.starts_with('.') || file.ends_with('~') => {}
                Some(file) => self.entry(&entry.path(), &format!("{name}{file}"), depth),
                None => self.mistake(
                    &format!("{name}{}", entry.file_name().display()),
                    "the name is not UTF-8",
                ),
            }
        }
    }

    fn entry(&mut self, path: &Path, name: &str, depth: usize) {
        // SECURITY: a link may lead elsewhere in the folder (mounted volumes are built so), never out of it.
        let path = match path.canonicalize() {
            Ok(path) if path.starts_with(&self.root) => path,
            Ok(path) => return self.mistake(name, format!("it is a link out of the folder, to {}", path.display())),
            Err(error) => return self.mistakes.push(unreadable(name, &error)),
        };
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => self.folder(&path, &format!("{name}/"), depth + 1),
            Ok(metadata) => self.file(&path, name, &metadata),
            Err(error) => self.mistakes.push(unreadable(name, &error)),
        }
    }

    fn file(&mut self, path: &Path, name: &str, metadata: &Metadata) {
        let extension = Path::new(name)
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or("");
        if extension == "md" {
            return;
        }
        // SECURITY: `guard-rails.cedr` passed over in silence would be a forbid that nobody misses.
        if !EXTENSIONS.contains(&extension) && name != BREAKGLASS_FILE {
            let text = format!("only .toml, .json, .cedar, {BREAKGLASS_FILE} (and .md, which is not read) belong here");
            let mistake = Mistake::new(name, text);
            return self.mistakes.push(mistake.did_you_mean(extension, EXTENSIONS));
        }
        // Opening a pipe would wait for its writer.
        if !metadata.is_file() {
            return self.mistake(name, "it is no regular file");
        }
        if self.files.len() >= FILES_MAX {
            return self.mistake(name, format!("there are more than {FILES_MAX} files"));
        }
        match text(path) {
            Ok(text) if self.fits(&text) => drop(self.files.insert(name.to_owned(), text)),
            Ok(_) => self.mistake(
                name,
                format!("with it the files hold more than {TOTAL_BYTES_MAX} bytes"),
            ),
            Err(error) => self.mistakes.push(unreadable(name, &error)),
        }
    }

    fn fits(&mut self, text: &str) -> bool {
        self.bytes = self.bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.bytes <= TOTAL_BYTES_MAX
    }

    fn mistake(&mut self, name: &str, text: impl Into<String>) {
        self.mistakes.push(Mistake::new(name, text));
    }
}

/// Reads a file whose size is looked at again while reading: it may have grown since.
fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn unreadable(name: &str, error: &io::Error) -> Mistake {
    Mistake::new(name, format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn mistakes(folder: &Path) -> Vec<String> {
        read_files(folder)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn files_are_named_by_their_path_below_the_folder() {
        let folder = folder(&[
            ("people.toml", ""),
            ("roles/a/b.json", "{}"),
            ("access/x.cedar", "// ä"),
            ("README.md", "text"),
            ("hosts.toml", ""),
            ("breakglass.keys", ""),
            (".git/config.toml", "no"),
            ("access/.x.cedar.swp", "no"),
            ("access/x.cedar~", "no"),
        ]);
        let files = read_files(folder.path()).unwrap();
        assert_eq!(
            files.keys().collect::<Vec<_>>(),
            [
                "access/x.cedar",
                "breakglass.keys",
                "hosts.toml",
                "people.toml",
                "roles/a/b.json"
            ]
        );
        assert_eq!(files["access/x.cedar"], "// ä");
    }

    #[test]
    fn a_file_that_would_be_passed_over_is_a_mistake() {
        let folder = folder(&[
            ("access/guard-rails.cedr", ""),
            ("roles/a", ""),
            ("roles/breakglass.keys", ""),
        ]);
        let told = mistakes(folder.path());
        assert_eq!(told.len(), 3);
        assert!(
            told[0].starts_with("access/guard-rails.cedr: ") && told[0].ends_with("(did you mean `cedar`?)"),
            "{told:?}"
        );
    }

    #[test]
    fn a_link_may_lead_within_the_folder_and_not_out_of_it() {
        let folder = folder(&[("..data/people.toml", "groups = []")]);
        symlink("..data/people.toml", folder.path().join("people.toml")).unwrap();
        assert_eq!(read_files(folder.path()).unwrap()["people.toml"], "groups = []");
        symlink("/etc", folder.path().join("roles")).unwrap();
        assert_eq!(
            mistakes(folder.path()),
            ["roles: it is a link out of the folder, to /etc"]
        );
    }

    #[test]
    fn a_folder_that_links_to_itself_ends() {
        let folder = folder(&[("people.toml", "")]);
        symlink(".", folder.path().join("roles")).unwrap();
        assert!(
            mistakes(folder.path())
                .iter()
                .any(|mistake| mistake.contains("nested more than 8 deep"))
        );
    }

    #[test]
    fn what_is_no_text_or_no_file_or_not_there_is_told() {
        let folder = folder(&[]);
        fs::write(folder.path().join("people.toml"), [0xff, 0xfe]).unwrap();
        symlink("nowhere", folder.path().join("x.cedar")).unwrap();
        let told = mistakes(folder.path());
        assert!(told[0].starts_with("people.toml: cannot be read: "), "{told:?}");
        assert!(told[1].starts_with("x.cedar: cannot be read: "), "{told:?}");
        assert!(mistakes(&folder.path().join("missing"))[0].contains("cannot be read"));
    }

    #[test]
    fn a_pipe_does_not_hang_the_reader() {
        let folder = folder(&[]);
        let pipe = folder.path().join("people.toml");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(mistakes(folder.path()), ["people.toml: it is no regular file"]);
    }

    #[test]
    fn a_file_that_is_too_large_is_told() {
        let folder = folder(&[]);
        let file = File::create(folder.path().join("people.toml")).unwrap();
        file.set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(mistakes(folder.path())[0].contains("larger than"));
    }
}

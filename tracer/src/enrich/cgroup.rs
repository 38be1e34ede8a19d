//! cgroup v2 ids → paths. The id of a cgroup is the inode number of its directory, so one walk over the tree knows them all.
//!
//! The walk is done when an unknown id is asked for, at most once a second. A cgroup that is gone keeps its name for a while:
//! its sockets may outlive it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use finwait_core::CgroupId;

use super::container::CgroupName;
use super::mounts::unescape;

const MOUNTS: &str = "/proc/self/mountinfo";
/// Shortest time between two walks.
const WALK_PAUSE: Duration = Duration::from_secs(1);
/// How long a cgroup that is gone keeps its name.
const KEEP_GONE: Duration = Duration::from_secs(600);
/// Cgroups that are remembered.
const CAPACITY: usize = 1 << 16;

/// Why no cgroup has a name.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The mounts cannot be read
    #[error("{MOUNTS}: {0}")]
    Mounts(#[source] io::Error),
    /// cgroup v1 alone
    #[error("no cgroup2 file system is mounted")]
    NoMount,
}

/// Names of cgroups.
#[derive(Debug)]
pub struct Cgroups {
    root: PathBuf,
    known: HashMap<CgroupId, Known>,
    capacity: usize,
    walked: Option<Instant>,
    left_out: u64,
}

#[derive(Debug)]
struct Known {
    name: Arc<CgroupName>,
    /// The walk that found it last
    seen: Instant,
}

impl Cgroups {
    /// Finds the cgroup2 tree, also beside one of version 1 (hybrid).
    ///
    /// # Errors
    /// There is none.
    pub fn find() -> Result<Self, CgroupError> {
        let mounts = fs::read_to_string(MOUNTS).map_err(CgroupError::Mounts)?;
        root_of(&mounts).map(Self::at).ok_or(CgroupError::NoMount)
    }

    fn at(root: PathBuf) -> Self {
        Self { root, known: HashMap::new(), capacity: CAPACITY, walked: None, left_out: 0 }
    }

    /// Name of `id`; `None` if there is no such cgroup below the mount, or none was there when the tree was walked last, less
    /// than a second ago.
    pub fn name(&mut self, id: CgroupId) -> Option<Arc<CgroupName>> {
        self.name_at(id, Instant::now())
    }

    /// Cgroups that a walk found no room for.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn name_at(&mut self, id: CgroupId, now: Instant) -> Option<Arc<CgroupName>> {
        let due = self.walked.is_none_or(|walked| now.saturating_duration_since(walked) >= WALK_PAUSE);
        if !self.known.contains_key(&id) && due {
            self.walk(now);
        }
        self.known.get(&id).map(|known| Arc::clone(&known.name))
    }

    fn walk(&mut self, now: Instant) {
        self.walked = Some(now);
        self.known.retain(|_, known| now.saturating_duration_since(known.seen) < KEEP_GONE);
        if let Ok(root) = fs::metadata(&self.root) {
            self.learn(CgroupId(root.ino()), "/", now);
        }
        // Without recursion: the depth is the host's affair. What cannot be read, or has just gone, is passed over.
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(self.root.join(folder.trim_start_matches('/'))) else { continue };
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
                self.learn(CgroupId(entry.ino()), &path, now);
                folders.push(path);
            }
        }
    }

    fn learn(&mut self, id: CgroupId, path: &str, now: Instant) {
        if let Some(known) = self.known.get_mut(&id)
            && known.name.path == path
        {
            known.seen = now;
            return;
        }
        if self.known.len() >= self.capacity && !self.known.contains_key(&id) && !self.forget_one(now) {
            self.left_out += 1;
            return;
        }
        self.known.insert(id, Known { name: Arc::new(CgroupName::of(path)), seen: now });
    }

    /// Makes room at the expense of a cgroup that this walk has not found (yet).
    fn forget_one(&mut self, now: Instant) -> bool {
        let oldest =
            self.known.iter().filter(|(_, known)| known.seen < now).min_by_key(|(_, known)| known.seen);
        let Some(id) = oldest.map(|(id, _)| *id) else { return false };
        self.known.remove(&id).is_some()
    }
}

/// The mount point of the cgroup2 file system that shows most of the tree.
fn root_of(mountinfo: &str) -> Option<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        kind.starts_with("cgroup2 ").then(|| (root.len(), unescape(point)))
    });
    mounts.min_by_key(|(root, _)| *root).map(|(_, point)| point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_found_in_a_hybrid_host() {
        let mounts = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
50 31 0:38 /sub /mnt/part rw,relatime - cgroup2 cgroup2 rw
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(root_of(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(root_of("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw"), None);
        assert_eq!(root_of("nonsense\n\n"), None);
    }

    /// The inode of `path`.
    fn id_of(path: &std::path::Path) -> CgroupId {
        CgroupId(fs::metadata(path).unwrap().ino())
    }

    fn tree() -> (tempfile::TempDir, Cgroups) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("system.slice/nginx.service")).unwrap();
        fs::write(folder.path().join("cgroup.procs"), "").unwrap();
        let cgroups = Cgroups::at(folder.path().to_owned());
        (folder, cgroups)
    }

    #[test]
    fn an_id_is_the_inode_of_its_folder() {
        let (folder, mut cgroups) = tree();
        let id = id_of(&folder.path().join("system.slice/nginx.service"));
        let name = cgroups.name(id).unwrap();
        assert_eq!(
            (name.path.as_str(), name.unit.as_deref()),
            ("/system.slice/nginx.service", Some("nginx.service"))
        );
        assert_eq!(cgroups.name(id_of(folder.path())).unwrap().path, "/");
        assert_eq!(cgroups.name(id_of(&folder.path().join("cgroup.procs"))), None, "a file is no cgroup");
    }

    #[test]
    fn a_new_cgroup_is_found_by_walking_again_but_not_within_a_second() {
        let (folder, mut cgroups) = tree();
        let start = Instant::now();
        assert!(cgroups.name_at(id_of(folder.path()), start).is_some());
        let path = folder.path().join("later.scope");
        fs::create_dir(&path).unwrap();
        let id = id_of(&path);
        assert_eq!(cgroups.name_at(id, start + Duration::from_millis(999)), None);
        assert!(cgroups.name_at(id, start + WALK_PAUSE).is_some());
    }

    #[test]
    fn a_cgroup_that_is_gone_keeps_its_name_for_a_while() {
        let (folder, mut cgroups) = tree();
        let path = folder.path().join("system.slice/nginx.service");
        let (id, start) = (id_of(&path), Instant::now());
        assert!(cgroups.name_at(id, start).is_some());
        fs::remove_dir(&path).unwrap();
        let unknown = CgroupId(u64::MAX);
        assert_eq!(cgroups.name_at(unknown, start + Duration::from_secs(60)), None);
        assert!(cgroups.name_at(id, start + Duration::from_secs(60)).is_some());
        assert_eq!(cgroups.name_at(unknown, start + KEEP_GONE), None);
        assert_eq!(cgroups.name_at(id, start + KEEP_GONE), None);
    }

    #[test]
    fn a_full_cache_forgets_what_is_gone_and_counts_what_it_leaves_out() {
        let (folder, mut cgroups) = tree();
        cgroups.capacity = 3;
        let start = Instant::now();
        let slice = id_of(&folder.path().join("system.slice"));
        assert!(cgroups.name_at(slice, start).is_some());
        assert_eq!(cgroups.left_out(), 0);
        fs::remove_dir(folder.path().join("system.slice/nginx.service")).unwrap();
        for name in ["a.scope", "b.scope"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(cgroups.name_at(CgroupId(u64::MAX), start + WALK_PAUSE), None);
        assert_eq!((cgroups.known.len(), cgroups.left_out()), (3, 1));
    }
}

//! Which file systems honour a reservation made by `fallocate`.

/// The kind of file system that a file is on, as far as the writer depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    /// Writes reserved blocks in place: a page that is dirtied through a map always finds its
    /// block.
    InPlace,
    /// Copies on write or compresses: a reserved block does not guarantee that a later write
    /// succeeds.
    CopyOnWrite,
    /// A network file system, FUSE or another layer: the storage below is unknown, and owners may
    /// be mapped.
    Layered,
    /// FAT and related file systems, which store no owners.
    Ownerless,
    /// Anything else.
    Unknown,
}

impl FileSystem {
    /// Classifies the low 32 bits of `statfs.f_type` (linux/magic.h; ZFS, bcachefs, Lustre and
    /// CephFS from their sources).
    pub(crate) fn from_magic(magic: u32) -> Self {
        match magic {
            // ext2 to ext4, XFS, tmpfs, F2FS.
            0xef53 | 0x5846_5342 | 0x0102_1994 | 0xf2f5_2010 => Self::InPlace,
            // btrfs, ZFS, bcachefs, NILFS2, UBIFS, ReiserFS 4.
            0x9123_683e | 0x2fc1_2fc1 | 0xca45_1a4e | 0x3434 | 0x2405_1905 | 0x5234_5362 => {
                Self::CopyOnWrite
            }
            // FUSE, NFS, CIFS, SMB 2, SMB, overlay, eCryptfs, 9P, CephFS, AFS, Coda, Lustre, GFS2,
            // OCFS2.
            0x6573_5546 | 0x6969 | 0xff53_4d42 | 0xfe53_4d42 | 0x517b | 0x794c_7630 | 0xf15f
            | 0x0102_1997 | 0x00c3_6400 | 0x5346_414f | 0x7375_7245 | 0x0bd0_0bd0 | 0x0116_1970
            | 0x7461_636f => Self::Layered,
            // FAT, exFAT, NTFS.
            0x4d44 | 0x2011_bab0 | 0x7366_746e | 0x5346_544e => Self::Ownerless,
            _ => Self::Unknown,
        }
    }

    /// Whether a reserved block stays reserved until it is written. A write through a map then
    /// can't end in SIGBUS because the disk is full.
    pub(crate) fn keeps_reservations(self) -> bool {
        self == Self::InPlace
    }

    /// Whether a file that this process created is reported as owned by its user, and has the same
    /// inode number at every mount.
    pub(crate) fn has_owners(self) -> bool {
        !matches!(self, Self::Layered | Self::Ownerless)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_write_in_place_are_mapped() {
        let table = [
            (0xef53, true),
            (0x5846_5342, true),
            (0x0102_1994, true),
            (0x9123_683e, false),
            (0x6573_5546, false),
            (0x794c_7630, false),
            (0x4d44, false),
            (0, false),
        ];
        for (magic, mapped) in table {
            assert_eq!(
                FileSystem::from_magic(magic).keeps_reservations(),
                mapped,
                "{magic:#x}"
            );
        }
        assert!(!FileSystem::from_magic(0x4d44).has_owners());
        assert!(FileSystem::from_magic(0xef53).has_owners());
    }
}

internal import CSystemd
internal import Glibc

/// Directories of kernel file systems, such as cgroups(7), by inode number.
public enum KernelDirectoryTree {
    /// The number of directories that one search visits at most.
    public static let directoriesLimit = 20_000

    /// The inode number of a directory; nil where there is none.
    public static func inode(of path: String) -> UInt64? {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        return UInt64(status.st_ino)
    }

    /// The path of the directory with an inode number: `root` itself or one below it, breadth first. Nil where there is
    /// none among the first ``directoriesLimit``.
    public static func path(ofInode number: UInt64, below root: String) -> String? {
        guard let own = inode(of: root) else { return nil }
        if own == number { return root }
        var queue = [root]
        var index = 0
        while index < queue.count, queue.count < directoriesLimit {
            let path = queue[index]
            index += 1
            for (name, inode) in children(of: path) {
                let child = path + "/" + name
                if inode == number { return child }
                queue.append(child)
            }
        }
        return nil
    }

    private static func children(of path: String) -> [(name: String, inode: UInt64)] {
        guard let stream = unsafe opendir(path) else { return [] }
        defer { unsafe closedir(stream) }
        var children: [(name: String, inode: UInt64)] = []
        while let entry = unsafe readdir(stream) {
            guard unsafe entry.pointee.d_type == UInt8(DT_DIR) else { continue }
            let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
            }
            if name != "." && name != ".." { children.append((name, UInt64(unsafe entry.pointee.d_ino))) }
        }
        return children
    }
}

import Glibc
import RocketMQBase
import RocketMQSystem

/// What the system keeps of files in its memory.
enum PageCache {
    /// Lets the system forget the contents of all files in a directory and below, after they were written to the disk. Returns
    /// how many files that were; advice, which a system may ignore.
    static func drop(below directory: String) throws(FileSystemError) -> Int {
        let files = LinuxFileSystem()
        // What is still on its way to the disk would take its time from what is measured next.
        _ = try files.synchronizeAll(at: directory)
        var count = 0
        var waiting = [directory]
        while let next = waiting.popLast() {
            for name in try files.list(next) {
                let path = next + "/" + name
                if files.isDirectory(path) { waiting.append(path) } else { count += forget(path) ? 1 : 0 }
            }
        }
        return count
    }

    private static func forget(_ path: String) -> Bool {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        // A file that was deleted meanwhile.
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        // Only what is on the disk can be forgotten.
        return fdatasync(descriptor) == 0 && posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0
    }
}

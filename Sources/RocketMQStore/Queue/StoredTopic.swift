/// A topic's name as records hold it, once for all of its queues.
///
/// Memory safety: `bytes` live as long as this object, which every queue of the topic holds.
final class StoredTopic {
    let name: String
    let bytes: UnsafeRawBufferPointer
    /// Whether it can stand in a record and as a directory's name.
    let isStorable: Bool

    init(_ name: String) {
        self.name = name
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(name.utf8.count, 1), alignment: 1)
        memory.copyBytes(from: name.utf8)
        bytes = UnsafeRawBufferPointer(rebasing: memory[..<name.utf8.count])
        isStorable =
            bytes.count > 0 && bytes.count <= 255 && name != "." && name != ".." && !bytes.contains { $0 < 0x20 || $0 == 0x2F }
    }

    deinit { bytes.deallocate() }
}

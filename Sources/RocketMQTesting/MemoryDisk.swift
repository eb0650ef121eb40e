import RocketMQBase

/// Files twice: as the system shows them, and as the disk has them. A value, so what a crash leaves is a copy.
///
/// A file's bytes become durable sector by sector, in any order, at any time before it is synced, and certainly then. So do
/// creations, renames and removals of names, each by itself; but none comes before an earlier one of the same name, and
/// what lies in a directory is lost with it.
struct MemoryDisk: Sendable {
    static let sectorSize = 512

    struct File: Sendable {
        var bytes: [UInt8] = []
        var durable: [UInt8] = []
        /// Written since it was last synced.
        var isDirty = false
        /// Sectors that a failed sync dropped: shown still, never written by a later sync unless they are written again.
        var dropped: Set<Int> = []
    }

    /// A change of names that may not be on the disk yet.
    fileprivate struct Change: Sendable {
        enum Kind: Sendable { case create, remove, rename, makeDirectory, removeDirectory, renameDirectory }
        var kind: Kind
        var path: String
        var target = ""
        var file = -1
        /// Its directory was synced; it waits for that directory's own name.
        var isSynced = false

        func shares(_ other: Change) -> Bool {
            path == other.path || path == other.target || !target.isEmpty && (target == other.path || target == other.target)
        }
        func lies(in directory: String) -> Bool {
            MemoryDisk.parent(path) == directory || !target.isEmpty && MemoryDisk.parent(target) == directory
        }
    }

    var inodes: [File] = []
    private(set) var names = Names()
    private var durableNames = Names()
    private var pending: [Change] = []

    /// One state of all names. Files are named by their index in `inodes`.
    struct Names: Sendable {
        var files: [String: Int] = [:]
        var directories: Set<String> = ["/"]
    }

    static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "" }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    // MARK: Names

    mutating func create(_ path: String) -> Int? {
        let parent = Self.parent(path)
        guard parent.isEmpty || names.directories.contains(parent) else { return nil }
        inodes.append(File())
        names.files[path] = inodes.count - 1
        pending.append(Change(kind: .create, path: path, file: inodes.count - 1))
        return inodes.count - 1
    }

    mutating func remove(_ path: String) -> Bool {
        guard let file = names.files.removeValue(forKey: path) else { return false }
        pending.append(Change(kind: .remove, path: path, file: file))
        return true
    }

    mutating func makeDirectory(_ path: String) {
        guard !path.isEmpty, !names.directories.contains(path) else { return }
        makeDirectory(Self.parent(path))
        names.directories.insert(path)
        pending.append(Change(kind: .makeDirectory, path: path))
    }

    mutating func removeDirectory(_ path: String) -> Bool {
        guard names.isEmpty(path), names.directories.remove(path) != nil else { return false }
        pending.append(Change(kind: .removeDirectory, path: path))
        return true
    }

    mutating func rename(_ source: String, to target: String) -> Bool {
        if names.directories.contains(source) {
            names.moveDirectory(source, to: target)
            pending.append(Change(kind: .renameDirectory, path: source, target: target))
            return true
        }
        guard let file = names.files.removeValue(forKey: source) else { return false }
        names.files[target] = file
        pending.append(Change(kind: .rename, path: source, target: target, file: file))
        return true
    }

    mutating func removeTree(_ path: String) {
        for name in names.files.keys where name.hasPrefix(path + "/") { _ = remove(name) }
        for name in names.directories.sorted().reversed() where name.hasPrefix(path + "/") || name == path { _ = removeDirectory(name) }
    }

    // MARK: Bytes

    mutating func write(_ file: Int, _ bytes: UnsafeRawBufferPointer, at offset: Int) {
        let end = offset + bytes.count
        if inodes[file].bytes.count < end { inodes[file].bytes.setCount(end) }
        inodes[file].bytes.withUnsafeMutableBytes {
            UnsafeMutableRawBufferPointer(rebasing: $0[offset..<end]).copyMemory(from: bytes)
        }
        inodes[file].noteChange(offset, end)
    }

    mutating func truncate(_ file: Int, to size: Int) {
        let before = inodes[file].bytes.count
        inodes[file].bytes.setCount(size)
        inodes[file].noteChange(min(before, size), max(before, size))
    }

    // MARK: Becoming durable

    mutating func synchronizeDirectory(_ path: String) {
        for index in pending.indices where pending[index].lies(in: path) { pending[index].isSynced = true }
        applySynced()
    }

    mutating func synchronize(_ file: Int) {
        if inodes[file].dropped.isEmpty {
            inodes[file].durable = inodes[file].bytes
        } else {
            let size = inodes[file].bytes.count
            inodes[file].durable.setCount(size)
            for start in stride(from: 0, to: size, by: Self.sectorSize) where !inodes[file].dropped.contains(start / Self.sectorSize) {
                inodes[file].copySector(start)
            }
        }
        inodes[file].isDirty = false
    }

    /// As after an unmount, or when files are put there by hand.
    mutating func synchronizeAll() {
        for index in inodes.indices where inodes[index].isDirty { synchronize(index) }
        for index in pending.indices { pending[index].isSynced = true }
        applySynced()
    }

    /// The system writes some of what is dirty, as it may at any time.
    mutating func writeBack(_ random: inout RandomSource) {
        for index in inodes.indices where inodes[index].isDirty { inodes[index].writeBack(share: 0.5, &random) }
        for index in pending.indices where Bool.random(using: &random) { pending[index].isSynced = true }
        applySynced()
    }

    /// A sync failed: of the pages that it should have written some are written, and none is tried again. What is shown of
    /// them may be the new bytes as before, or the old ones, read from the disk again.
    mutating func dropPages(_ file: Int, _ random: inout RandomSource) {
        let size = inodes[file].bytes.count
        inodes[file].durable.setCount(size)
        for start in stride(from: 0, to: size, by: Self.sectorSize) where !inodes[file].isSectorClean(start) {
            switch Int.random(in: 0..<3, using: &random) {
            case 0: inodes[file].copySector(start)
            case 1: inodes[file].revertSector(start)
            default: inodes[file].dropped.insert(start / Self.sectorSize)
            }
        }
        inodes[file].isDirty = false
    }

    /// Everything that the power takes with it is gone afterwards.
    mutating func losePower(_ random: inout RandomSource) {
        let kept: Double = [0, 0.5, 0.5, 0.9, 1].randomElement(using: &random) ?? 0.5
        for index in pending.indices where Double.random(in: 0..<1, using: &random) < kept { pending[index].isSynced = true }
        applySynced()
        pending = []
        names = durableNames
        for index in inodes.indices where inodes[index].isDirty || !inodes[index].dropped.isEmpty {
            let share: Double = [0, 0.5, 0.5, 0.9, 1].randomElement(using: &random) ?? 0.5
            inodes[index].writeBack(share: share, &random)
            inodes[index].bytes = inodes[index].durable
            inodes[index].isDirty = false
            inodes[index].dropped = []
        }
    }

    private mutating func applySynced() {
        // Of one name the earlier changes come first.
        for index in pending.indices.reversed() where pending[index].isSynced {
            for earlier in 0..<index where !pending[earlier].isSynced && pending[earlier].shares(pending[index]) {
                pending[earlier].isSynced = true
            }
        }
        var left: [Change] = []
        for change in pending {
            let isNext = change.isSynced && !left.contains { $0.isSynced && $0.shares(change) }
            if !isNext || !durableNames.take(change) { left.append(change) }
        }
        pending = left
    }
}

extension MemoryDisk.Names {
    func isEmpty(_ directory: String) -> Bool {
        !files.keys.contains { $0.hasPrefix(directory + "/") } && !directories.contains { $0.hasPrefix(directory + "/") }
    }

    mutating func moveDirectory(_ source: String, to target: String) {
        for name in files.keys where name.hasPrefix(source + "/") {
            files[target + name.dropFirst(source.count)] = files.removeValue(forKey: name)
        }
        for name in directories where name == source || name.hasPrefix(source + "/") {
            directories.remove(name)
            directories.insert(target + name.dropFirst(source.count))
        }
    }

    /// Makes the change here as far as it applies; false when it has to wait for its directory.
    fileprivate mutating func take(_ change: MemoryDisk.Change) -> Bool {
        let last = change.target.isEmpty ? change.path : change.target
        switch change.kind {
        case .create, .makeDirectory, .rename, .renameDirectory:
            guard directories.contains(MemoryDisk.parent(last)) || MemoryDisk.parent(last).isEmpty else { return false }
        case .remove, .removeDirectory: break
        }
        switch change.kind {
        case .create: files[change.path] = change.file
        case .makeDirectory: directories.insert(change.path)
        case .remove: if files[change.path] == change.file { files[change.path] = nil }
        case .removeDirectory: if isEmpty(change.path) { directories.remove(change.path) }
        case .rename:
            if files[change.path] == change.file {
                files[change.path] = nil
                files[change.target] = change.file
            }
        case .renameDirectory: if directories.contains(change.path) { moveDirectory(change.path, to: change.target) }
        }
        return true
    }
}

extension MemoryDisk.File {
    private func sector(_ start: Int, _ image: [UInt8]) -> Range<Int> {
        min(start, image.count)..<min(start + MemoryDisk.sectorSize, image.count)
    }

    mutating func noteChange(_ start: Int, _ end: Int) {
        isDirty = true
        guard !dropped.isEmpty, start < end else { return }
        dropped.subtract(start / MemoryDisk.sectorSize...(end - 1) / MemoryDisk.sectorSize)
    }

    func isSectorClean(_ start: Int) -> Bool { bytes[sector(start, bytes)] == durable[sector(start, durable)] }

    /// From what is shown to the disk, as far as both files go.
    mutating func copySector(_ start: Int) {
        let end = min(start + MemoryDisk.sectorSize, bytes.count, durable.count)
        guard start < end else { return }
        bytes.withUnsafeBytes { source in
            durable.withUnsafeMutableBytes { target in
                UnsafeMutableRawBufferPointer(rebasing: target[start..<end]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: source[start..<end]))
            }
        }
    }

    /// From the disk to what is shown.
    mutating func revertSector(_ start: Int) {
        for index in sector(start, bytes) { bytes[index] = index < durable.count ? durable[index] : 0 }
    }

    /// Each sector with this probability, and the new size or not.
    mutating func writeBack(share: Double, _ random: inout RandomSource) {
        let isWhole = share >= 1 && dropped.isEmpty
        if isWhole {
            durable = bytes
            return
        }
        guard isDirty, share > 0 else { return }
        if bytes.count != durable.count, Bool.random(using: &random) { durable.setCount(bytes.count) }
        // One number decides over eight sectors.
        let limit = UInt8(share * 255)
        var number: UInt64 = 0
        for (count, start) in stride(from: 0, to: durable.count, by: MemoryDisk.sectorSize).enumerated() {
            if count % 8 == 0 { number = random.next() }
            let byte = UInt8(truncatingIfNeeded: number >> UInt64(count % 8 * 8))
            guard byte < limit, dropped.isEmpty || !dropped.contains(start / MemoryDisk.sectorSize) else { continue }
            copySector(start)
        }
    }
}

extension [UInt8] {
    fileprivate mutating func setCount(_ wanted: Int) {
        if count > wanted { removeLast(count - wanted) } else { self += [UInt8](repeating: 0, count: wanted - count) }
    }
}

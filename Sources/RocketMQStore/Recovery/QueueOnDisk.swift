import RocketMQBase

/// A consume queue's files as they were found, for finding out how far they can be believed.
struct QueueOnDisk {
    let place: QueuePlace
    /// Queue offsets at which files start, ascending.
    let bases: [Int64]
    let entriesPerFile: Int64
    private let fileSystem: any FileSystem

    /// `nil` when there are no files, or they do not fit together.
    init?(place: QueuePlace, names: [String], defaultEntriesPerFile: Int64, fileSystem: any FileSystem) throws(StoreError) {
        let entry = Int64(QueueEntry.byteCount)
        let starts = names.compactMap(FileName.offset).sorted()
        guard let first = starts.first else { return nil }
        let size = try storing { () throws(FileSystemError) in
            let file = try fileSystem.open(place.path(base: first), .read)
            defer { file.close() }
            return try file.size()
        }
        let whole = size > 0 ? size : defaultEntriesPerFile * entry
        guard whole % entry == 0 else { return nil }
        for (index, start) in starts.enumerated() where start != first + Int64(index) * whole { return nil }
        guard first % whole == 0 else { return nil }
        self.place = place
        self.fileSystem = fileSystem
        entriesPerFile = whole / entry
        bases = starts.map { $0 / entry }
    }

    /// One beyond the last entry that is there and whose message lies before `limit`.
    func end(before limit: Int64) throws(StoreError) -> Int64 {
        for base in bases.reversed() {
            let file = try storing { () throws(FileSystemError) in try fileSystem.open(place.path(base: base * 20), .read) }
            defer { file.close() }
            let good = try firstIndex(in: file) { $0.isVoid || !$0.isFiller && $0.physicalOffset >= limit }
            if good > 0 { return base + good }
        }
        return bases.first ?? 0
    }

    /// The first offset of a message at or after `minPhysical` in the log; `end` when there is none.
    func firstOffset(at minPhysical: Int64, end: Int64) throws(StoreError) -> Int64 {
        for base in bases where base < end {
            let file = try storing { () throws(FileSystemError) in try fileSystem.open(place.path(base: base * 20), .read) }
            defer { file.close() }
            let index = try firstIndex(in: file) { $0.isVoid || !$0.isFiller && $0.physicalOffset >= minPhysical }
            if index < entriesPerFile { return min(base + index, end) }
        }
        return end
    }

    /// Whether every full file before the one that holds `end` begins and ends with entries, in the order of the log.
    func isWhole(end: Int64, logEnd: Int64) throws(StoreError) -> Bool {
        var last: Int64 = -1
        for base in bases where base + entriesPerFile < end {
            let file = try storing { () throws(FileSystemError) in try fileSystem.open(place.path(base: base * 20), .read) }
            defer { file.close() }
            for index in [0, entriesPerFile - 1] {
                guard let entry = try Self.entries(file, from: index, count: 1).first, !entry.isVoid else { return false }
                if entry.isFiller { continue }
                guard entry.physicalOffset >= last, entry.physicalOffset < logEnd else { return false }
                last = entry.physicalOffset
            }
        }
        return true
    }

    /// The entry at a queue offset; `nil` beyond the files.
    func entry(_ offset: Int64) throws(StoreError) -> QueueEntry? {
        guard let first = bases.first, offset >= first else { return nil }
        let base = first + (offset - first) / entriesPerFile * entriesPerFile
        guard base <= bases[bases.count - 1] else { return nil }
        let file = try storing { () throws(FileSystemError) in try fileSystem.open(place.path(base: base * 20), .read) }
        defer { file.close() }
        return try Self.entries(file, from: offset - base, count: 1).first
    }

    /// The first entry of the file for which `isBeyond` holds, which it does for all after it; the file's number of entries
    /// when there is none. Most queues are short: their end is in the first block.
    private func firstIndex(in file: any OpenFile, _ isBeyond: (QueueEntry) -> Bool) throws(StoreError) -> Int64 {
        let block: Int64 = 200
        var low: Int64 = 0
        var high = entriesPerFile
        var step = block
        // Gallop to a block that is beyond, then halve.
        while low + step < high {
            guard let entry = try Self.entries(file, from: low + step, count: 1).first, !isBeyond(entry) else {
                high = low + step
                break
            }
            low += step
            step *= 4
        }
        while high - low > block {
            let middle = low + (high - low) / 2
            if let entry = try Self.entries(file, from: middle, count: 1).first, !isBeyond(entry) { low = middle } else { high = middle }
        }
        let entries = try Self.entries(file, from: low, count: Int(high - low))
        if let index = entries.firstIndex(where: isBeyond) { return low + Int64(index) }
        return low + Int64(entries.count)
    }

    private static func entries(_ file: any OpenFile, from index: Int64, count: Int) throws(StoreError) -> [QueueEntry] {
        let bytes = try readExactly(file, at: index * Int64(QueueEntry.byteCount), count: count * QueueEntry.byteCount)
        return bytes.withUnsafeBytes { raw in
            (0..<(raw.count / QueueEntry.byteCount)).map { QueueEntry(from: raw.baseAddress! + $0 * QueueEntry.byteCount) }
        }
    }
}

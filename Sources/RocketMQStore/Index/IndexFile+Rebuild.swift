import RocketMQBase
import RocketMQProtocol

extension IndexFile {
    /// Believes the first entries, `limit.count` less one of them, of messages before `limit.offset`, and works out everything
    /// else from them.
    ///
    /// - Returns: whether as many entries were there as should be.
    func rebuild(_ row: IndexList.Row, before limit: Int64, _ progress: StartProgress) throws(StoreError) -> Bool {
        let listed = row.header
        var table = [Int32](repeating: 0, count: geometry.slots)
        var fresh = Header()
        var isWhole = true
        let end = min(Int(listed.count), geometry.entries)
        var isOver = false
        try restartChecksums()
        while !isOver, Int(fresh.count) < end {
            try progress.tell("\(fresh.count) of \(end) entries of the index file \(path) checked")
            let bytes = try readEntries(from: fresh.count, count: min(50_000, end - Int(fresh.count)))
            let span = bytes.span.bytes
            guard bytes.count >= Self.entrySize else {
                isWhole = false
                break
            }
            let first = fresh.count
            for start in stride(from: 0, through: bytes.count - Self.entrySize, by: Self.entrySize) {
                let hash = span.bigEndian(Int32.self, at: start)
                let offset = span.bigEndian(Int64.self, at: start + 4)
                let seconds = span.bigEndian(Int32.self, at: start + 12)
                if offset >= limit, offset <= listed.endOffset {
                    isOver = true
                    break
                }
                let slot = Int(max(hash, 0)) % geometry.slots
                // Entries are in the order of the log, and each leads to the one that its slot had before.
                guard hash >= 0, seconds >= 0, offset >= max(fresh.endOffset, listed.beginOffset), offset <= listed.endOffset,
                    span.bigEndian(Int32.self, at: start + 16) == table[slot]
                else {
                    (isWhole, isOver) = (false, true)
                    break
                }
                if fresh.count == 1 {
                    fresh.beginOffset = offset
                    fresh.beginTimestamp = listed.beginTimestamp
                }
                fresh.endOffset = offset
                fresh.endTimestamp = fresh.beginTimestamp + Int64(seconds) * 1000 + 999
                if table[slot] == 0 { fresh.slotCount += 1 }
                table[slot] = fresh.count
                fresh.count += 1
            }
            addToChecksums(span.extracting(0..<(Int(fresh.count - first) * Self.entrySize)))
        }
        try replace(header: fresh, table: table)
        var times = row.times
        times.latest = max(times.latest, fresh.endTimestamp)
        take(times)
        return isWhole
    }

    /// Forgets checksums; those of the entries that turn out to be good are gathered from here on.
    func restartChecksums() throws(StoreError) {
        isDamaged = false
        beginChecksums(entryZero: try readEntries(from: 0, count: 1))
    }

    func readEntries(from number: Int32, count: Int) throws(StoreError) -> [UInt8] {
        try readExactly(file, at: geometry.entriesPosition + Int64(number) * Int64(Self.entrySize), count: count * Self.entrySize)
    }

    /// Puts header and all slots in the place of what there was.
    func replace(header: Header, table: [Int32]) throws(StoreError) {
        self.header = header
        pendingStart = header.count
        pending.removeAll()
        for index in blocks.indices {
            let start = index * Self.slotsPerBlock
            blocks[index] = Array(table[start..<min(start + Self.slotsPerBlock, table.count)])
            // Most are as they should be, and on a full disk there is no room for zeros where nothing is.
            isBlockDirty[index] = try !isInFile(index)
        }
        isHeaderDirty = true
        do throws(StoreError) { try flush() } catch  where error.code == .noSpace {
            // They are written when there is room, and looked up in memory until then.
            return
        }
        blocks = Self.noBlocks(geometry)
    }

    private func isInFile(_ index: Int) throws(StoreError) -> Bool {
        let found = try readExactly(file, at: Int64(Self.headerSize + index * Self.slotsPerBlock * 4), count: blocks[index].count * 4)
        let buffer = Self.encoded(blocks[index])
        let checksum = buffer.withBytes { Checksum.crc32($0) }
        guard found.count == buffer.count, buffer.withBytes({ wanted in found.indices.allSatisfy { wanted.byte(at: $0) == found[$0] } })
        else {
            return false
        }
        setChecksum(ofBlock: index, checksum)
        return true
    }
}

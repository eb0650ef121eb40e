import RocketMQBase

extension IndexFile {
    /// After a crash: believes the entries of messages before `limit` and works out everything else from them.
    func rebuild(before limit: Int64) throws(StoreError) {
        var table = [Int32](repeating: 0, count: geometry.slots)
        var fresh = Header()
        var slotCount: Int32 = 0
        reading: while Int(fresh.count) < geometry.entries {
            let wanted = min(50_000, geometry.entries - Int(fresh.count))
            let bytes = try readEntries(from: fresh.count, count: wanted)
            let span = bytes.span.bytes
            guard bytes.count >= Self.entrySize else { break }
            for start in stride(from: 0, through: bytes.count - Self.entrySize, by: Self.entrySize) {
                let hash = span.bigEndian(Int32.self, at: start)
                let offset = span.bigEndian(Int64.self, at: start + 4)
                let seconds = span.bigEndian(Int32.self, at: start + 12)
                // Entries are in the order of the log; zeros are where nothing was written.
                guard hash >= 0, seconds >= 0, offset < limit, offset >= fresh.endOffset, hash != 0 || offset != 0 else { break reading }
                if fresh.count == 1 {
                    fresh.beginOffset = offset
                    fresh.beginTimestamp = header.beginTimestamp
                }
                fresh.endOffset = offset
                fresh.endTimestamp = fresh.beginTimestamp + Int64(seconds) * 1000 + 999
                let slot = Int(hash) % geometry.slots
                if table[slot] == 0 { slotCount += 1 }
                table[slot] = fresh.count
                fresh.count += 1
            }
        }
        fresh.slotCount = slotCount
        try replace(header: fresh, table: table)
    }
}

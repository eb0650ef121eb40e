import RocketMQBase
import RocketMQProtocol

/// Where a record lies in the commit log.
public struct RecordPlace: Sendable, Equatable {
    public var physicalOffset: Int64
    /// Bytes of the record.
    public var size: Int32

    public init(physicalOffset: Int64, size: Int32) {
        self.physicalOffset = physicalOffset
        self.size = size
    }
}

/// Records that were read together, in the order in which they were asked for.
public struct FetchedRecords: Sendable {
    /// Which piece each record is in and where it starts there; a piece below 0 stands for bytes that the log does not have.
    fileprivate var places: [(piece: Int, start: Int, size: Int)] = []
    fileprivate var pieces: [[UInt8]] = []

    public var count: Int { places.count }

    /// Calls `body` with the bytes that lie where a record was said to be, and not at all when there are none. They are as
    /// the disk has them: parse them before you believe them.
    public func withBytes<Result>(_ index: Int, _ body: (RawSpan) -> Result) -> Result? {
        let place = places[index]
        guard place.piece >= 0, place.start + place.size <= pieces[place.piece].count else { return nil }
        return pieces[place.piece].withUnsafeBytes {
            body(UnsafeRawBufferPointer(rebasing: $0[place.start..<(place.start + place.size)]).bytes)
        }
    }
}

extension MessageStore {
    /// Reads records whose places are known. `completion` is called on the loop: before this returns when all of them are in
    /// memory, otherwise later.
    public func readRecords(at places: [RecordPlace], completion: @escaping (Result<FetchedRecords, StoreError>) -> Void) {
        if let fetched = recordsInWindow(places) { return completion(.success(fetched)) }
        let ranges: [LogRange]
        var fetched = FetchedRecords()
        do throws(StoreError) { ranges = try Self.merge(places, into: &fetched, range(of:)) } catch { return completion(.failure(error)) }
        let carried = LoopBound((fetched: fetched, completion: completion), on: loop)
        workers.readers.run { [loop] in
            var pieces: [[UInt8]] = []
            var failure: StoreError?
            do throws(StoreError) {
                for range in ranges { pieces.append(try readExactly(range.file, at: range.start - range.base, count: range.size)) }
            } catch { failure = error }
            let (read, error) = (pieces, failure)
            loop.execute {
                var (fetched, completion) = carried.value
                fetched.pieces = read
                completion(error.map { .failure($0) } ?? .success(fetched))
            }
        }
    }

    private func recordsInWindow(_ places: [RecordPlace]) -> FetchedRecords? {
        var fetched = FetchedRecords()
        var bytes: [UInt8] = []
        for place in places {
            guard place.size > 0, let window = log.windowBytes(at: place.physicalOffset, size: Int(place.size)) else { return nil }
            fetched.places.append((0, bytes.count, window.count))
            bytes.append(contentsOf: window)
        }
        fetched.pieces = [bytes]
        return fetched
    }

    /// The bytes of a place as a part of a file; `nil` when the log does not have them.
    private func range(of place: RecordPlace) throws(StoreError) -> LogRange? {
        guard place.size > 0, place.physicalOffset >= log.minOffset, let file = log.file(holding: place.physicalOffset),
            place.physicalOffset <= min(file.end, log.writtenOffset) - Int64(place.size)
        else { return nil }
        return LogRange(file: try file.handle(), base: file.base, start: place.physicalOffset, size: Int(place.size))
    }

    /// The reads that get all places, in the order of the log, near ones together.
    private static func merge(
        _ places: [RecordPlace], into fetched: inout FetchedRecords, _ range: (RecordPlace) throws(StoreError) -> LogRange?
    ) throws(StoreError) -> [LogRange] {
        var ranges: [LogRange] = []
        fetched.places = Array(repeating: (-1, 0, 0), count: places.count)
        for index in places.indices.sorted(by: { places[$0].physicalOffset < places[$1].physicalOffset }) {
            guard let own = try range(places[index]) else { continue }
            if let last = ranges.indices.last, ranges[last].base == own.base {
                let end = ranges[last].start + Int64(ranges[last].size)
                if own.start - end < 16 << 10, own.start + Int64(own.size) - ranges[last].start < 1 << 20 {
                    ranges[last].size = max(ranges[last].size, Int(own.start - ranges[last].start) + own.size)
                    fetched.places[index] = (last, Int(own.start - ranges[last].start), own.size)
                    continue
                }
            }
            fetched.places[index] = (ranges.count, 0, own.size)
            ranges.append(own)
        }
        return ranges
    }

    /// Goes through all records of the log from `offset` on, where a record or a file starts, in its order. Waits for the
    /// disk: for the start of a broker.
    ///
    /// - Parameter limit: those before it, or some more; otherwise all.
    public func forEachRecord(
        from offset: Int64, until limit: Int64? = nil, _ use: (MessageRecord, RawSpan) -> Void
    ) throws(StoreError) {
        let end = min(log.writtenOffset, limit ?? .max)
        guard offset < end else { return }
        var scanner = LogScanner(files: log.files, from: offset, trust: LogTrust(durableEnd: log.writtenOffset, isEndKnown: true))
        let progress = startProgress()
        while scanner.position < end {
            try progress.tell(
                "\((scanner.position - offset) >> 20) of \((end - offset) >> 20) MiB of the commit log looked through for messages "
                    + "that wait")
            switch try scanner.next() {
            case .record(let record, let place): scanner.withRecord(record, at: place) { use(record, $0) }
            case .hole: continue
            case .end: return
            }
        }
    }
}

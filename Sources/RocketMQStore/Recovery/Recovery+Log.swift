import RocketMQBase
import RocketMQProtocol

/// The log's files: found, gone through, and brought to an end that nothing follows.
extension Recovery {
    // MARK: Log files

    func loadLogFiles() throws(StoreError) {
        let names: [String]
        do { names = try fileSystem.list(logDirectory) } catch  where error.code == .notFound { names = [] } catch {
            throw StoreError(error)
        }
        let bases = names.compactMap(FileName.offset).sorted()
        var sizes: [Int64] = []
        for base in bases {
            let path = logDirectory + "/" + FileName.text(base)
            if let kind = fileSystem.kind(of: path), kind != .file {
                throw StoreError(
                    .damaged,
                    "\(path) is \(kind.text) in the place of a file of the commit log: move it away and put the file back. To start without "
                        + "the messages in it and in those after it, move these away as well")
            }
            sizes.append(
                try storing { () throws(FileSystemError) in
                    let file = try fileSystem.open(logDirectory + "/" + FileName.text(base), .read)
                    defer { file.close() }
                    return try file.size()
                })
        }
        // All are of one size, but for one that a crash cut short.
        if let size = sizes.max(), size > 0 { logFileSize = size }
        for (index, base) in bases.enumerated() {
            let path = logDirectory + "/" + FileName.text(base)
            let expected = bases[0] + Int64(index) * logFileSize
            if base > expected, base % logFileSize == bases[0] % logFileSize {
                let last = base - logFileSize
                let missing = last == expected ? FileName.text(last) : "\(FileName.text(expected)) … \(FileName.text(last))"
                throw StoreError(
                    .damaged,
                    "\(logDirectory)/\(missing) is missing in the commit log, between other files of it: put it back. To start without what "
                        + "comes after it, move \(path) and the files after it away")
            }
            guard base == expected, sizes[index] <= logFileSize else {
                throw StoreError(
                    .damaged,
                    "\(path) with \(sizes[index]) bytes does not continue the commit log of files of \(logFileSize) bytes; "
                        + "a file before it is missing: put it back, or move this one and those after it away")
            }
            let file = LogFile(base: base, size: logFileSize, path: path, fileSystem: fileSystem)
            if sizes[index] < logFileSize {
                report(.warning, "\(path) has \(sizes[index]) of \(logFileSize) bytes, it is brought to its size")
                let handle = try file.handle()
                try storing { () throws(FileSystemError) in try handle.truncate(to: logFileSize) }
            }
            logFiles.append(file)
        }
    }

    // MARK: Going through the log

    func scan(from start: Int64) throws(StoreError) {
        let total = (logFiles.last?.end ?? 0) - start
        lost = []
        ordinaryFrom = max(start, logStart)
        strangers = (0, "")
        gapsTold = 0
        var scanner = LogScanner(files: logFiles, from: start, trust: trust, progress: progress)
        var (count, told) = (0, start)
        // Records from here on are not announced yet, and so many before it are.
        var (ahead, announced) = (start, 0)
        func tell(_ offset: Int64) throws(StoreError) {
            try progress.tell("\((offset - start) >> 20) of at most \(total >> 20) MiB of the commit log checked")
        }
        while true {
            switch try scanner.next() {
            case .record(let record, let offset):
                announced = ahead > offset ? announced - 1 : 0
                if ahead <= offset { ahead = offset + Int64(record.size) }
                // Two for each, until there are enough.
                for _ in 0..<2 where announced < finder.lookahead {
                    guard let next = scanner.glance(at: ahead, { finder.announce($0, $1) }) else { break }
                    (ahead, announced) = (next, announced + 1)
                }
                scanner.withRecord(record, at: offset) { dispatch($0, record, at: offset, scannedFrom: start) }
                count += 1
                if count & 1023 == 0 || offset - told > 8 << 20 {
                    told = offset
                    try tell(offset)
                }
            case .hole(let from, let to):
                let timestamp = lastStoreTimestamp
                lost.append(LostStretch(from: from, to: to, storeTimestamp: timestamp, messages: try holdPlaces(from, to)))
            case .end(let offset, let hasMore):
                end = offset
                hasMoreBehindEnd = hasMore
                try tell(offset)
                return settleRestarts()
            }
        }
    }

    // MARK: Cutting

    /// Nothing may be left behind the end that could be taken for a record later.
    ///
    /// - Parameter isForeign: the reference wrote last, which leaves old records where it cut its log.
    func cutLog(isForeign: Bool) throws(StoreError) {
        try removeFilesBehindEnd()
        guard let last = logFiles.last, last.end > end else { return }
        let handle = try last.handle()
        if wasClean, !isForeign, try readExactly(handle, at: end - last.base, count: 8).allSatisfy({ $0 == 0 }) { return }
        try reportCut(handle, from: end - last.base, in: last)
        // Durably, or what was cut could follow the messages that are written from here on.
        try storing { () throws(FileSystemError) in
            try handle.clear(from: end - last.base)
            try handle.synchronize()
        }
    }

    private func removeFilesBehindEnd() throws(StoreError) {
        while let last = logFiles.last, last.base > end {
            let handle = try last.handle()
            // One by one: should the power take this back, no file between others may be missing.
            if try storing({ () throws(FileSystemError) in try handle.nextData(from: 0) }) != nil,
                try !readExactly(handle, at: 0, count: Int(min(last.size, 1 << 20))).allSatisfy({ $0 == 0 }) || hasMoreBehindEnd
            {
                last.release()
                let place = try aside.move(last.path)
                report(
                    .error,
                    "\(last.path) lies behind the end of the commit log at \(end) and is no part of it any more, it is kept as \(place)")
            } else {
                last.release()
                try storing { () throws(FileSystemError) in
                    try fileSystem.remove(last.path)
                    try fileSystem.synchronizeDirectory(logDirectory)
                }
            }
            logFiles.removeLast()
        }
    }

    /// Says how much is cut, as far as a moment of reading tells; all of it when it is to be kept.
    private func reportCut(_ file: any OpenFile, from start: Int64, in last: LogFile) throws(StoreError) {
        var lastWritten: Int64?
        var position = start
        while position < last.size, hasMoreBehindEnd || position - start < 64 << 20 {
            try progress.tell("what follows the end of the commit log at \(end) is looked at, now byte \(position) of \(last.path)")
            guard let data = try storing({ () throws(FileSystemError) in try file.nextData(from: position) }) else { break }
            position = max(position, data)
            let bytes = try readExactly(file, at: position, count: Int(min(1 << 20, last.size - position)))
            guard !bytes.isEmpty else { break }
            if let index = bytes.lastIndex(where: { $0 != 0 }) { lastWritten = position + Int64(index) } else if !hasMoreBehindEnd { break }
            position += Int64(bytes.count)
        }
        guard let lastWritten else { return }
        let cut = "\(lastWritten - start + 1) bytes of \(last.path) behind offset \(end), where the last whole record ends, are cut: "
        guard hasMoreBehindEnd else { return report(.warning, cut + "a record there was not written to its end, or is damaged") }
        let place = try aside.keep(start..<(lastWritten + 1), of: last.path, as: "commitlog-\(FileName.text(end))")
        report(
            .error,
            cut + "nothing shows that they were flushed, and the first of them did not arrive whole on the disk. They are kept in \(place)")
    }

    /// Writes what the log shows once more, so that a sync brings it to the disk.
    func writeAgain(from start: Int64) throws(StoreError) {
        guard start < end else { return }
        let why = lastStop == .unknown ? "nothing tells whether the disk failed in the last run" : "the disk failed in the last run"
        report(.warning, "\(why): the commit log is written again from offset \(start) to \(end)")
        for file in logFiles where file.end > start && file.base < end {
            let handle = try file.handle()
            var position = max(start, file.base) - file.base
            let stop = min(end, file.end) - file.base
            while position < stop {
                try progress.tell("\((file.base + position - start) >> 20) of \((end - start) >> 20) MiB of the commit log written again")
                let bytes = try readExactly(handle, at: position, count: Int(min(stop - position, Int64(LogScanner.readSize))))
                guard !bytes.isEmpty else { break }
                var failure: FileSystemError?
                bytes.withUnsafeBytes { buffer in
                    do throws(FileSystemError) { try handle.write(buffer, at: position) } catch { failure = error }
                }
                if let failure { throw StoreError(failure) }
                position += Int64(bytes.count)
            }
            try storing { () throws(FileSystemError) in try handle.synchronize() }
        }
    }
}

import RocketMQBase

/// What a start takes over of the index, and what it builds anew.
extension IndexBuilder {
    /// What is known of the state of the files at the start.
    enum Trust: Sendable {
        /// What the list says, and nothing else.
        case listed(IndexList, wasClean: Bool)
        /// There should be a list, and it is missing or damaged.
        case nothing
        /// A clean stop of the reference: the files are as their headers say.
        case headers
        /// After a crash of the reference: files whose last message is newer than this go.
        case filesUntil(timestamp: Int64)
    }

    /// The list beside the files; `nil` when there is none that can be believed.
    static func list(root: String, _ fileSystem: any FileSystem) -> IndexList? {
        guard let bytes = try? fileSystem.contents(of: root + "/" + IndexList.fileName, atMost: 64 << 20) else { return nil }
        return IndexList(bytes)
    }

    /// Loads the files. Blocks, after a crash for as long as reading the last file takes.
    func load(_ trust: Trust, logStart: Int64, logEnd: Int64, _ progress: StartProgress) throws(StoreError) {
        try state.withLock { (state) throws(StoreError) in
            let found = try openFiles(&state)
            switch trust {
            case .listed(let list, let wasClean):
                try adopt(list, found, logStart: logStart, logEnd: logEnd, wasClean: wasClean, &state, progress)
            case .nothing:
                for file in found { try remove(file.path) }
                if !found.isEmpty { state.notes.append("the index is built anew: \(root)/\(IndexList.fileName) is missing or damaged") }
                state.indexedOffset = logStart
            case .headers:
                // The reference may have changed any of them.
                forgetChecksums(but: [])
                state.files = found
            case .filesUntil(let timestamp):
                forgetChecksums(but: [])
                for file in found {
                    if file.header.endTimestamp > timestamp { try remove(file.path) } else { state.files.append(file) }
                }
            }
            switch trust {
            case .headers, .filesUntil:
                // Going on behind the last entry is always right.
                let last = state.files.last { !$0.isEmpty }
                // When a file is full some keys of its last message may have gone to the next one, which may be lost.
                state.skippedThrough = last.map { $0.isFull ? $0.header.endOffset - 1 : $0.header.endOffset } ?? -1
                state.indexedOffset = min(max(last?.header.endOffset ?? logStart, logStart), logEnd)
            case .listed, .nothing: break
            }
            forgetChecksums(but: state.files)
            // Removals first, so that none is taken back by a loss of power after new entries were believed.
            if fileSystem.isDirectory(directory) {
                try storing { () throws(FileSystemError) in try fileSystem.synchronizeDirectory(directory) }
            }
            if state.isListOutdated { try replaceList(&state) }
        }
    }

    /// All files of the format, in their order; what only looks like one goes, or is put aside.
    private func openFiles(_ state: inout State) throws(StoreError) -> [IndexFile] {
        let aside = PutAside(root: root, fileSystem: fileSystem)
        // Without room for it there is none, until there is.
        do throws(StoreError) { try makeDirectory(&state) } catch  where error.code == .noSpace { return [] }
        var found: [IndexFile] = []
        for name in try storing({ () throws(FileSystemError) in try fileSystem.list(directory) }) {
            guard name.utf8.count == 17, name.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { continue }
            let path = directory + "/" + name
            if let kind = fileSystem.kind(of: path), kind != .file {
                state.notes.append("\(path) is \(kind.text) in the place of an index file, it is now \(try aside.move(path))")
            } else if let file = try IndexFile(opening: path, expected: geometry, fileSystem: fileSystem) {
                found.append(file)
            } else {
                try remove(path)
            }
            state.lastName = max(state.lastName, Int64(name) ?? 0)
        }
        return found
    }

    /// Takes over what the list names, as far as it is there, whole, and of messages that the log still has.
    private func adopt(
        _ list: IndexList, _ found: [IndexFile], logStart: Int64, logEnd: Int64, wasClean: Bool, _ state: inout State,
        _ progress: StartProgress
    ) throws(StoreError) {
        var byName: [Int64: IndexFile] = [:]
        for file in found { byName[file.name] = file }
        var plan = IndexPlan(
            list, found: byName.mapValues { ($0.header, $0.geometry.entries) }, logStart: logStart, logEnd: logEnd, wasClean: wasClean)
        if let name = plan.missing {
            state.notes.append(
                "the index file \(name) in \(directory) is missing or damaged, it and what follows it are built anew from the commit log")
        }
        state.lastName = max(state.lastName, list.rows.last?.name ?? 0)
        for step in plan.steps {
            guard let file = byName[step.row.name] else { continue }
            if step.isUntouched {
                file.loadChecksums(checksumPath(file), fileSystem)
                file.take(step.row.times)
            }
            if !step.isUntouched, try !file.rebuild(step.row, before: logEnd, progress) {
                state.notes.append("the index file \(file.path) is damaged, it and what follows it are built anew from the commit log")
                plan.stop(at: state.files.last.map { IndexList.Row(name: $0.name, header: $0.header) })
                break
            }
            if !file.isEmpty { state.files.append(file) }
        }
        let kept = Set(state.files.map(\.name))
        for file in found where !kept.contains(file.name) { try remove(file.path) }
        state.indexedOffset = min(max(plan.from, logStart), logEnd)
        state.isListOutdated = plan.isListOutdated
    }
}

import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// What happens while the store is open.
extension StoreHistory {
    func act() throws(TortureFailure) {
        guard let store else { return }
        switch chance(0...99) {
        case 0..<45: tick(store)
        case 45..<60:
            tick(store)
            store.requestFlush()
            if chance(0...2) > 0 { loop.settle() }
        case 60..<68:
            note("background step")
            loop.runBackgroundStep()
        case 68..<73:
            if Bool.random(using: &random) {
                flusher.hold()
            } else {
                flusher.release()
                loop.settle()
            }
        case 73..<84:
            let duration = chance(1...4000)
            note("\(duration) ms pass")
            loop.advance(by: .milliseconds(Int64(duration)))
        case 84..<90:
            note("the system writes back")
            files.writeBack(&random)
        case 90..<93: expire(store)
        case 93..<95:
            _ = stage(store, chance(1...4))
            store.rollBack()
        default: if hasFaults { trouble(store) } else { try readSome(store) }
        }
    }

    /// Messages of one tick, written together.
    func tick(_ store: MessageStore) {
        let staged = stage(store, chance(1...6))
        var problem: StoreError?
        do throws(StoreError) { try store.commit() } catch { problem = error }
        if files.hasDied {
            note("\(staged.count) messages are being committed")
            uncertain = staged
        } else if let problem {
            note("a commit of \(staged.count) fails: \(problem)")
            uncertain = staged
        } else if !staged.isEmpty {
            note(
                "committed \(staged.map { "\($0.topic)-\($0.queueID):\($0.queueOffset)@\($0.physicalOffset)" }.joined(separator: " "))"
                    + " to \(store.writtenOffset)")
            acknowledged += staged
            uncertain = []
            required = acknowledged.count
            counts.messages += staged.count
        }
    }

    private func stage(_ store: MessageStore, _ count: Int) -> [Sent] {
        var staged: [Sent] = []
        for _ in 0..<count {
            nextNumber += 1
            let sent = makeMessage()
            let fields = MessageFields(
                bornTimestamp: clock.wallMilliseconds - 5, bornHost: .loopback(port: 5000), storeTimestamp: clock.wallMilliseconds,
                storeHost: .loopback(port: 10911), tagsCode: 7)
            let queue = store.queue(topic: sent.topic, id: sent.queueID)
            let (body, properties, extra) = (Array(sent.body.utf8), Array(sent.properties.utf8), Array("CLUSTER\u{1}c".utf8))
            do throws(StoreError) {
                let appended = try store.append(
                    fields, body: body.span.bytes, properties: properties.span.bytes, extraProperties: extra.span.bytes, to: queue)
                var placed = sent
                placed.queueOffset = appended.queueOffset
                placed.physicalOffset = appended.physicalOffset
                placed.end = appended.physicalOffset + Int64(appended.size)
                placed.properties += "\u{2}CLUSTER\u{1}c"
                staged.append(placed)
            } catch {
                note("a message is refused: \(error)")
                break
            }
        }
        return staged
    }

    private func makeMessage() -> Sent {
        let size = chance(0...11) == 0 ? chance(0...(configuration.maxRecordSize - 600)) : chance(0...260)
        let key = "k\(chance(0...5))"
        var properties = "UNIQ_KEY\u{1}U\(nextNumber)\u{2}KEYS\u{1}\(key)\u{2}TAGS\u{1}t"
        // Long enough to lie in a sector of their own.
        if chance(0...3) == 0 { properties += "\u{2}more\u{1}" + String(repeating: "p", count: chance(1...400)) }
        return Sent(
            topic: ["T", "Other"].randomElement(using: &random) ?? "T", queueID: Int32(chance(0...2)), queueOffset: 0, physicalOffset: 0,
            end: 0, number: nextNumber, body: "\(nextNumber) " + String(repeating: "y", count: size), properties: properties,
            keys: ["U\(nextNumber)", key], storeTimestamp: clock.wallMilliseconds)
    }

    /// Files that are old enough go.
    private func expire(_ store: MessageStore) {
        note("two hours pass, and old files go")
        clock.advance(by: .seconds(7200))
        store.deleteExpiredFiles()
        if Bool.random(using: &random) { loop.settle() } else { for _ in 0..<chance(0...3) { loop.runBackgroundStep() } }
        if Bool.random(using: &random) { loop.settle() }
    }

    /// Something goes wrong with the disk.
    private func trouble(_ store: MessageStore) {
        counts.faults += 1
        let seed = random.next()
        switch chance(0...3) {
        case 0:
            files.setFault { operation, path in
                operation == .write && path.contains("commitlog") ? .short(Int(seed % 3000), .noSpace) : nil
            }
            note("the disk is full")
            tick(store)
        case 1:
            // Killed between a failed sync and the mark that it leaves: see the store's README.
            files.dieAfter(changes: nil)
            files.setFault { operation, _ in operation == .synchronize ? .dropsPages(.inputOutput, seed: seed) : nil }
            note("syncs fail")
            tick(store)
            store.requestFlush()
            flusher.release()
            loop.advance(by: .seconds(3))
            pagesWereDropped()
        case 2:
            files.dieAfter(changes: nil)
            let fault = OneFault(after: chance(0...12), seed: seed)
            files.setFault(fault.answer)
            note("one call fails")
            tick(store)
            loop.advance(by: .seconds(2))
            if fault.hasFailedSync { pagesWereDropped() }
            // The store distrusts what was not flushed, as after any failed sync: damage in it is taken for its end.
            if fault.hasFailedNames { mayBeTorn = true }
        default:
            files.setFault { operation, path in
                operation == .write && path.contains("consumequeue") ? .short(Int(seed % 50), .noSpace) : nil
            }
            note("no room for consume queues")
            tick(store)
            loop.advance(by: .seconds(2))
        }
        files.setFault(nil)
    }

    /// Reads while the system has nothing in memory.
    private func readSome(_ store: MessageStore) throws(TortureFailure) {
        loop.settle()
        files.setFault { operation, _ in operation == .readIfCached ? .cold : nil }
        defer { files.setFault(nil) }
        guard let queue = store.existingQueue(topic: "T", id: Int32(chance(0...2))) else { return }
        let start = max(store.minPhysicalOffset, minPhysical)
        let found = try read(store, queue).filter { $0.fields.physicalOffset >= start }
        if files.hasDied { return }
        let expected = acknowledged.filter { $0.topic == "T" && $0.queueID == queue.id && $0.physicalOffset >= start }
        try compare(found, expected, "a cold read")
    }
}

import RocketMQBase
import RocketMQProtocol

/// Positions: of the group at the brokers, or of this member in a local file.
extension ConsumerCore {
    /// Stores one position and waits until it is.
    func commit(_ queue: MessageQueue, _ offset: Int64, completion: @escaping (Bool) -> Void) {
        positions.commit(queue, offset) { [self] failure in
            if let failure { log.log(.warning, limitedBy: "commit", "\(failure)") }
            completion(failure == nil)
        }
    }

    /// Every few seconds: commits what has changed, without waiting.
    func persistOffsets() {
        if let localOffsets {
            for held in queues.values { localOffsets.set(held.queue, held.process.committable) }
            return localOffsets.save()
        }
        for held in inOrder(queues) where held.process.committable != held.persistedOffset && renewal.mayCommit(held) {
            let offset = held.process.committable
            requests.commitOneway(held.queue, offset) { held.persistedOffset = offset }
        }
    }
}

import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Locks on queues, which brokers keep for a group: one member at a time has a queue. How one is asked for (41) and given up (42).
/// Confined to the loop.
///
/// An orderly listener gets nothing without the lock. For all others it is how a queue is handed over: the new owner waits for the
/// lock, and the old one gives it up when its position is committed. Members that do not lock, such as the other clients'
/// concurrent and pull consumers, are not waited for. An owner that is connected and renews its lock is: it may not have heard yet that
/// the queue is another's, of new queues up to `pollNameServerInterval` later than its next owner, and gives it up when it has. One that
/// the broker does not tell of so has gone, and is waited for `handOverTimeout`.
struct QueueLocks {
    let requests: GroupRequests

    private var runtime: RuntimeCore { requests.runtime }
    private var group: String { requests.group }

    /// Asks for the locks on queues of one broker; `completion` gets those that were granted, and of which the owner is there.
    func lock(_ wanted: Set<MessageQueue>, brokerName: String, completion: @escaping (Result<LockBatchResponseBody, MQError>) -> Void) {
        var context = MQError.Context(group: group, brokerName: brokerName)
        guard let address = runtime.routes.masterAddress(brokerName) else {
            return completion(.failure(MQError(.brokerNotFound, "cannot lock queues: their broker has no master in any route", context)))
        }
        context.brokerAddress = address
        let body = LockBatchRequestBody(consumerGroup: group, clientID: runtime.clientID, messageQueues: wanted)
        runtime.call(.request(.lockBatchMq, body: body.encoded()), at: address, timeout: runtime.configuration.requestTimeout) { result in
            switch result {
            case .success(let response) where response.responseCode == .success:
                do throws(MalformedBytes) {
                    completion(.success(try LockBatchResponseBody(decoding: response.body)))
                } catch {
                    completion(.failure(MQError(.malformedAnswer, "the answer to a lock cannot be read: \(error)", context)))
                }
            case .success(let response): completion(.failure(MQError(response, doing: "lock queues", context)))
            case .failure(let error): completion(.failure(MQError(error, doing: "lock queues", context)))
            }
        }
    }

    /// Gives locks up, without waiting.
    func unlock(_ queues: [MessageQueue]) {
        for (brokerName, queues) in Self.byBroker(queues, \.self) {
            guard let address = runtime.routes.masterAddress(brokerName) else { continue }
            let body = UnlockBatchRequestBody(consumerGroup: group, clientID: runtime.clientID, messageQueues: Set(queues))
            runtime.callOneway(.request(.unlockBatchMq, body: body.encoded()), at: address)
        }
    }

    static func byBroker<Value>(_ values: [Value], _ queue: KeyPath<Value, MessageQueue>) -> [(String, [Value])] {
        Dictionary(grouping: values) { $0[keyPath: queue].brokerName }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}

/// A queue that a consumer has, or is still to finish with, with its lock. Confined to the loop.
protocol LockedQueue: AnyObject {
    var queue: MessageQueue { get }
    /// When the broker last granted the lock, reckoned from when it was asked for; `nil` without one.
    var lockedAt: MonotonicTime? { get set }
    /// The connection has ended that the lock came by.
    var isInDoubt: Bool { get set }
    /// In milliseconds since 1970, for tools.
    var lastLockMilliseconds: Int64 { get set }
    /// As far as this member has come: a group that is further has had another owner of the queue.
    var furthest: Int64 { get }
}

/// A consumer that takes locks on its queues.
protocol QueueHolder: QueueSharer {
    var configuration: ConsumerConfiguration { get }
    var requests: GroupRequests { get }
    var positions: QueuePositions { get }
    var sharing: QueueSharing { get }
    var claims: QueueClaims { get }
    /// Its queues have locks.
    var usesLocks: Bool { get }
    /// It does nothing with a queue that it has no lock on.
    var needsLocks: Bool { get }
    var isStopping: Bool { get }
    /// The queues that it has, and those that it is still to finish with, in their order.
    var lockable: [any LockedQueue] { get }
    /// The same for one queue.
    func lockable(_ queue: MessageQueue) -> (any LockedQueue)?
    /// Begins with a queue that was claimed.
    func begin(_ claim: QueueClaim, at offset: Int64, persisted: Int64?)
    func unlock(_ queues: [MessageQueue])
    /// Stops with a queue at once: it is another member's now.
    func loseLock(_ queue: MessageQueue, _ reason: String)
}

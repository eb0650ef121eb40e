import RocketMQBase
import RocketMQProtocol

/// Keeps two runs of `resendDeadLetters` for one group from sending the same messages: the first queue of the group's dead
/// letters is locked at each broker that sends (requests 41 and 42), for as long as the run goes on there.
struct ResendLock {
    /// Not the consumers' group: its locks are theirs.
    static let group = "TOOLS_RESEND"
    /// Brokers forget a lock that is not renewed for half a minute, when its client is not connected as a consumer.
    static let renewal: Duration = .seconds(10)

    let deadLetterTopic: String
    let owner: String
    private var renewedAt: [String: MonotonicTime] = [:]

    init(group: String, _ context: AdminContext) {
        deadLetterTopic = SystemTopic.deadLetter(of: group)
        let client = context.environment.client
        owner = "mqadmin@\(client.host)@\(client.processID)@\(context.clock.monotonicNow.nanoseconds)@\(context.nowMilliseconds)"
    }

    private var body: LockBatchRequestBody {
        LockBatchRequestBody(
            consumerGroup: Self.group, clientID: owner,
            messageQueues: [MessageQueue(topic: deadLetterTopic, brokerName: "", queueID: 0)])
    }

    /// Takes the lock at the broker, or renews it when that is due. Throws when another run has it.
    mutating func hold(at address: String, _ context: AdminContext) async throws(AdminError) {
        let now = context.clock.monotonicNow
        if let renewed = renewedAt[address], now - renewed < Self.renewal { return }
        let answer: LockBatchResponseBody = try await context.client.call(
            .request(.lockBatchMq, [:], body: body.encoded()), .broker(address), doing: "lock \(deadLetterTopic)")
        guard !answer.lockedQueues.isEmpty else {
            throw AdminError(
                .refused, "another resendDeadLetters of this group is at work at broker \(address)",
                remedy: "wait until it has ended; of one that was killed broker and tools think no more after a minute")
        }
        renewedAt[address] = now
    }

    /// Gives all of it up; a broker that cannot be told forgets it by itself.
    func release(_ context: AdminContext) async {
        for address in renewedAt.keys.sorted() {
            do throws(AdminError) {
                try await context.client.call(
                    .request(.unlockBatchMq, [:], body: body.encoded()), .broker(address), doing: "unlock \(deadLetterTopic)")
            } catch { continue }
        }
    }
}

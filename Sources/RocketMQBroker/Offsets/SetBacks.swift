import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Commits that would set a group back in a queue, of members who do not have it: sent before they were cut off or lost their lock, and
/// arriving when the next owner is further. Confined to the broker's loop.
///
/// Who has a queue is known only where its owner takes the lock (41), as orderly consumers of every language do and all of this project.
/// One that moves its group forward without the lock is always heard: concurrent consumers take none, or take over from one that does
/// not answer. So are tools, which are no members.
final class SetBacks {
    private let locks: LockTable
    private let clients: ClientTable
    private let brokerName: String
    private let log: Logger

    init(locks: LockTable, clients: ClientTable, brokerName: String, log: Logger) {
        self.locks = locks
        self.clients = clients
        self.brokerName = brokerName
        self.log = log
    }

    /// Why the commit is not taken, by which a group would go back from `known`; `nil` when it is.
    func refusal(
        _ offset: Int64, from known: Int64, group: String, topic: String, queueID: Int32, _ connection: ServerConnection
    ) -> String? {
        guard let owner = locks.holder(of: MessageQueue(topic: topic, brokerName: brokerName, queueID: queueID), group: group),
            let members = clients.consumerGroup(group), let own = members.members[connection.id], own.identity.clientID != owner,
            members.member(clientID: owner) != nil
        else { return nil }
        let reason =
            "client \(own.name) does not set group \(group) back from offset \(known) to \(offset) in queue \(queueID) of topic \(topic): "
            + "client \(owner) has the queue, and its lock"
        log.log(.info, limitedBy: "set back", reason)
        return reason + "; mqadmin resetOffsetByTime moves a group back"
    }
}

import RocketMQProtocol
import RocketMQRemoting

/// Locks on queues for consumers that keep the order: lock (41), unlock (42).
final class LockHandler: AdministrationHandler {
    let codes: [RequestCode] = [.lockBatchMq, .unlockBatchMq]
    private let locks: LockTable
    private let clients: ClientTable

    init(locks: LockTable, clients: ClientTable) {
        self.locks = locks
        self.clients = clients
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let body: LockBatchRequestBody = try request.body()
        guard request.requestCode == .lockBatchMq else {
            locks.unlock(body.messageQueues, group: body.consumerGroup, clientID: body.clientID)
            return .success()
        }
        let members = clients.consumerGroup(body.consumerGroup)
        let granted = locks.lock(body.messageQueues, group: body.consumerGroup, clientID: body.clientID) {
            members?.member(clientID: $0) != nil
        }
        return .success(body: LockBatchResponseBody(lockedQueues: granted).encoded())
    }
}

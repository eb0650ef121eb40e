import RocketMQProtocol
import RocketMQRemoting

/// Locks on queues for consumers that keep the order: lock (41), unlock (42).
final class LockHandler: AdministrationHandler {
    let codes: [RequestCode] = [.lockBatchMq, .unlockBatchMq]
    private let locks: LockTable

    init(locks: LockTable) { self.locks = locks }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let body: LockBatchRequestBody = try request.body()
        guard request.requestCode == .lockBatchMq else {
            locks.unlock(body.messageQueues, group: body.consumerGroup, clientID: body.clientID)
            return .success()
        }
        let granted = locks.lock(body.messageQueues, group: body.consumerGroup, clientID: body.clientID)
        return .success(body: LockBatchResponseBody(lockedQueues: granted).encoded())
    }
}

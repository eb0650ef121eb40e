import RocketMQBase
import RocketMQProtocol
import Synchronization

@testable import RocketMQClient

/// A broker for consumers' tests: one topic's queues in memory, positions, members. A test can replace any answer.
final class ScriptedBroker: Sendable {
    struct State {
        /// Messages by queue, `topic:queueID`; the index is the offset, from `first`.
        var queues: [String: [MessageExt]] = [:]
        var first: [String: Int64] = [:]
        /// Committed positions by queue.
        var offsets: [String: Int64] = [:]
        var members: [String] = []
        var sentBack: [RemotingCommand] = []
        /// Who has the lock of a queue.
        var locks: [MessageQueue: String] = [:]
        /// Asked first; `nil` leaves the answer to the broker.
        var override: (@Sendable (RemotingCommand) -> ScriptedServer.Reply?)?
    }

    static let name = "broker-a"
    let server: ScriptedServer
    let nameServer: ScriptedServer
    private let state: Mutex<State>

    init(topic: String = "T", queues: Int32 = 1) throws {
        let state = Mutex(State())
        self.state = state
        server = try ScriptedServer { _ in .silence }
        nameServer = try ScriptedServer(Scripts.nameServer([topic: Scripts.route([(Self.name, server.address)], queues: queues)]))
        server.follow { [self] request in answer(request) }
    }

    static func key(_ topic: String, _ queueID: Int32 = 0) -> String { "\(topic):\(queueID)" }

    func change(_ change: (inout State) -> Void) { state.withLock { change(&$0) } }
    func override(_ script: (@Sendable (RemotingCommand) -> ScriptedServer.Reply?)?) { state.withLock { $0.override = script } }
    func offset(_ topic: String, _ queueID: Int32 = 0) -> Int64? { state.withLock { $0.offsets[Self.key(topic, queueID)] } }
    var sentBack: [RemotingCommand] { state.withLock { $0.sentBack } }

    /// Stores messages; held pulls do not notice, the next one does.
    func store(
        _ topic: String, queueID: Int32 = 0, tag: String? = nil, count: Int = 1, properties: MessageProperties = [:], body: [UInt8]? = nil
    ) {
        state.withLock { state in
            let key = Self.key(topic, queueID)
            for _ in 0..<count {
                let offset = (state.first[key] ?? 0) + Int64(state.queues[key]?.count ?? 0)
                var properties = properties
                if let tag { properties["TAGS"] = tag }
                properties["UNIQ_KEY"] = "\(topic)-\(queueID)-\(offset)"
                let host = SocketAddress.loopback(port: 10911)
                let fields = MessageRecordFields(
                    queueID: queueID, queueOffset: offset, physicalOffset: offset * 1000 + 7, bornTimestamp: 1, bornHost: host,
                    storeTimestamp: 2, storeHost: host)
                let body = body ?? Array("message \(offset)".utf8)
                state.queues[key, default: []].append(
                    MessageExt(
                        topic: topic, properties: properties, body: body, bodyCRC: Checksum.body(body), storeSize: 0, fields: fields))
            }
        }
    }

    func consumer(
        group: String = "cg", topic: String = "T", filter: MessageFilter = .all, _ change: (inout ConsumerConfiguration) -> Void = { _ in },
        listener: @escaping @Sendable ([MessageExt], ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus
    ) -> DefaultMQPushConsumer {
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        change(&configuration)
        let client = ClientConfiguration(nameServers: [nameServer.address])
        let consumer = DefaultMQPushConsumer(configuration, client: client, subscriptions: [Subscription(topic, filter: filter)])
        consumer.registerMessageListener(listener)
        return consumer
    }

    /// With an orderly listener, whose queues are suspended shortly.
    func orderlyConsumer(
        group: String = "cg", topic: String = "T", _ change: (inout ConsumerConfiguration) -> Void = { _ in },
        listener: @escaping @Sendable ([MessageExt], ConsumeOrderlyContext) async throws -> ConsumeOrderlyStatus
    ) -> DefaultMQPushConsumer {
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        configuration.suspendCurrentQueueTime = .milliseconds(10)
        change(&configuration)
        let client = ClientConfiguration(nameServers: [nameServer.address])
        let consumer = DefaultMQPushConsumer(configuration, client: client, subscriptions: [Subscription(topic)])
        consumer.registerMessageListener(orderly: listener)
        return consumer
    }

    static func queue(_ queueID: Int32 = 0, topic: String = "T") -> MessageQueue {
        MessageQueue(topic: topic, brokerName: name, queueID: queueID)
    }
    func lock(_ owner: String, _ queueID: Int32 = 0) { state.withLock { $0.locks[Self.queue(queueID)] = owner } }
    func lockOwner(_ queueID: Int32 = 0) -> String? { state.withLock { $0.locks[Self.queue(queueID)] } }

    // MARK: Answers

    private func answer(_ request: RemotingCommand) -> ScriptedServer.Reply {
        let override = state.withLock { $0.override }
        if let reply = override?(request) { return reply }
        return state.withLock { Self.answer(request, &$0) }
    }

    private static func answer(_ request: RemotingCommand, _ state: inout State) -> ScriptedServer.Reply {
        let key = key(request.fields["topic"] ?? "", Int32(request.fields["queueId"] ?? "") ?? 0)
        let first = state.first[key] ?? 0
        let end = first + Int64(state.queues[key]?.count ?? 0)
        switch request.requestCode {
        case .heartBeat:
            guard let data = try? HeartbeatData(decoding: request.body) else { return .closeConnection }
            if !data.consumerDataSet.isEmpty, !state.members.contains(data.clientID) { state.members.append(data.clientID) }
            return .answer(.success())
        case .unregisterClient:
            state.members.removeAll { $0 == request.fields["clientID"] }
            return .answer(.success())
        case .getConsumerListByGroup: return .answer(.success(body: ConsumerIDList(consumerIDs: state.members).encoded()))
        case .queryConsumerOffset:
            guard let offset = state.offsets[key] else { return .answer(.response(.queryNotFound, "Not found")) }
            return .answer(.success(["offset": "\(offset)"]))
        case .updateConsumerOffset:
            state.offsets[key] = Int64(request.fields["commitOffset"] ?? "")
            return .answer(.success())
        case .getMinOffset: return .answer(.success(["offset": "\(first)"]))
        case .getMaxOffset: return .answer(.success(["offset": "\(end)"]))
        case .searchOffsetByTimestamp: return .answer(.success(["offset": "\((first + end) / 2)"]))
        case .lockBatchMq:
            guard let body = try? LockBatchRequestBody(decoding: request.body) else { return .closeConnection }
            let granted = body.messageQueues.filter { state.locks[$0] == nil || state.locks[$0] == body.clientID }
            for queue in granted { state.locks[queue] = body.clientID }
            let held = body.messageQueues.subtracting(granted).filter { state.locks[$0].map(state.members.contains) ?? false }
            return .answer(.success(body: LockBatchResponseBody(lockedQueues: granted, heldByMembers: held).encoded()))
        case .unlockBatchMq:
            guard let body = try? UnlockBatchRequestBody(decoding: request.body) else { return .closeConnection }
            for queue in body.messageQueues where state.locks[queue] == body.clientID { state.locks[queue] = nil }
            return .answer(.success())
        case .consumerSendMsgBack:
            state.sentBack.append(request)
            return .answer(.success())
        case .pullMessage: return pull(request, key, first, end, &state)
        default: return .answer(.success())
        }
    }

    private static func pull(
        _ request: RemotingCommand, _ key: String, _ first: Int64, _ end: Int64, _ state: inout State
    ) -> ScriptedServer.Reply {
        let from = Int64(request.fields["queueOffset"] ?? "") ?? 0
        if (Int(request.fields["sysFlag"] ?? "") ?? 0) & 1 == 1 { state.offsets[key] = Int64(request.fields["commitOffset"] ?? "") }
        var fields = ["minOffset": "\(first)", "maxOffset": "\(end)", "suggestWhichBrokerId": "0", "nextBeginOffset": "\(from)"]
        guard from >= first, from <= end else {
            fields["nextBeginOffset"] = "\(from < first ? first : end)"
            return .answer(.response(.pullOffsetMoved, "moved", fields))
        }
        let wanted = (state.queues[key] ?? []).dropFirst(Int(from - first)).prefix(Int(request.fields["maxMsgNums"] ?? "") ?? 32)
        // Not held: the client asks again a little later.
        guard !wanted.isEmpty else { return .answer(.response(.pullNotFound, "nothing", fields)) }
        var body = ByteBuffer()
        for message in wanted { try? message.encodeRecord(into: &body) }
        fields["nextBeginOffset"] = "\(from + Int64(wanted.count))"
        return .answer(.success(fields, body: body.copyBytes()))
    }
}

/// Collects from many tasks.
final class Collected<Element: Sendable>: Sendable {
    private let stored = Mutex<[Element]>([])
    func append(_ element: Element) { stored.withLock { $0.append(element) } }
    var all: [Element] { stored.withLock { $0 } }
    var count: Int { stored.withLock { $0.count } }
}

/// Holds listener calls until a test lets them go.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var passed = 0
    }
    private let state = Mutex(State())

    /// Calls that have come to the gate.
    var arrivals: Int { state.withLock { $0.passed + $0.waiting.count } }

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if state.isOpen {
                    state.passed += 1
                } else {
                    state.waiting.append(continuation)
                }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            state.passed += state.waiting.count
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

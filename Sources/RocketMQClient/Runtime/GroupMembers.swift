import RocketMQProtocol

/// A producer as its runtime sees it. Confined to the loop.
protocol ProducerMember: AnyObject {
    var group: String { get }
    /// Topics whose routes are to be kept fresh.
    var topicsInUse: Set<String> { get }
}

/// A consumer as its runtime sees it. Confined to the loop.
protocol ConsumerMember: AnyObject {
    var group: String { get }
    /// Topics whose routes are to be kept fresh.
    var topicsInUse: Set<String> { get }
    /// What heartbeats say of the group.
    var heartbeat: ConsumerData { get }
    /// Whether brokers may hear of it: not before it is known that it can be a member of its group.
    var isAnnounced: Bool { get }
    func routeChanged(_ topic: String)
    /// A connection to a server ended.
    func connectionClosed(_ address: String)
    /// Members came or went (40).
    func membersChanged()
    /// Positions set from outside (220).
    func resetOffsets(topic: String, to offsets: [MessageQueue: Int64])
    /// Positions for tools (221).
    func offsets(topic: String) -> [MessageQueue: Int64]
    /// For tools (307).
    func runningInfo() -> ConsumerRunningInfo
    /// A tool wants this message consumed now (309).
    func consumeDirectly(_ message: MessageExt, completion: @escaping (ConsumeMessageDirectlyResult) -> Void)
}

extension ConsumerMember {
    var isAnnounced: Bool { true }
}

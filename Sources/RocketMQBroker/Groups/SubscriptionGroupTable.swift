import RocketMQBase
import RocketMQProtocol

/// All consumer groups of this broker. Confined to its loop.
final class SubscriptionGroupTable {
    /// Groups that exist on every broker.
    static let predefined = [
        "TOOLS_CONSUMER", "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP", "CID_ONS-HTTP-PROXY", "CID_ONSAPI_PULL", "CID_ONSAPI_PERMISSION",
        "CID_ONSAPI_OWNER",
    ]
    /// Groups of this prefix belong to brokers themselves and are made when first seen.
    static let systemPrefix = "CID_RMQ_SYS_"

    /// Whether an unknown group is created by the first request that names it.
    var createsUnknown: Bool
    private(set) var dataVersion: DataVersion
    /// Called after groups changed: they have to be stored.
    var onChange: (() -> Void)?
    private let clock: any SystemClock
    private var byName: [String: SubscriptionGroup] = [:]

    init(loaded: SubscriptionGroupWrapper?, createsUnknown: Bool, clock: any SystemClock) {
        self.createsUnknown = createsUnknown
        self.clock = clock
        dataVersion = loaded?.dataVersion ?? DataVersion(timestamp: clock.wallMilliseconds)
        for name in Self.predefined { byName[name] = SubscriptionGroup(SubscriptionGroupConfig(groupName: name)) }
        // The name is the key that the group is found by; a file in which both differ is read by the key.
        for (name, config) in loaded?.subscriptionGroupTable ?? [:] {
            var config = config
            config.groupName = name
            byName[name] = SubscriptionGroup(config)
        }
    }

    var all: [SubscriptionGroup] { byName.values.sorted { $0.name < $1.name } }

    /// All groups as they are stored and sent.
    var wrapper: SubscriptionGroupWrapper {
        SubscriptionGroupWrapper(subscriptionGroupTable: byName.mapValues(\.config), dataVersion: dataVersion)
    }

    /// The group, when it exists.
    func existing(_ name: String) -> SubscriptionGroup? { byName[name] }

    /// The group, created with default settings when that is allowed and the name is legal.
    func find(_ name: String) -> SubscriptionGroup? {
        if let group = byName[name] { return group }
        guard createsUnknown || name.hasPrefix(Self.systemPrefix), (try? TopicValidator.check(group: name)) != nil else { return nil }
        let group = SubscriptionGroup(SubscriptionGroupConfig(groupName: name))
        byName[name] = group
        changed()
        return group
    }

    /// Creates or changes a group.
    func update(_ config: SubscriptionGroupConfig) { update([config]) }

    func update(_ configs: [SubscriptionGroupConfig], by peer: SocketAddress? = nil) {
        for config in configs {
            let group = byName[config.groupName] ?? SubscriptionGroup(config)
            byName[config.groupName] = group
            group.config = config
            group.change = peer.map { .init(peer: $0, time: clock.monotonicNow) }
        }
        if !configs.isEmpty { changed() }
    }

    /// Removes a group; whether it existed.
    @discardableResult
    func remove(_ name: String) -> Bool {
        guard let group = byName.removeValue(forKey: name) else { return false }
        group.isRemoved = true
        changed()
        return true
    }

    private func changed() {
        dataVersion.advance(nowMilliseconds: clock.wallMilliseconds)
        onChange?()
    }
}

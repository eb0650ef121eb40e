/// Settings about what the broker tells of its consumer groups. The reference has none of them.
extension BrokerSettings {
    /// How often the groups are looked at.
    public static let consumerCheckInterval = Setting(
        "consumerCheckInterval", default: 30_000, bounds: 1000...3_600_000, unit: .milliseconds, changeable: true,
        "How often the broker looks whether its consumer groups get on.")

    /// From when on a queue counts as stopped.
    public static let consumerStoppedAfter = Setting(
        "consumerStoppedAfter", default: 300_000, bounds: 1000...86_400_000, unit: .milliseconds, changeable: true,
        "How long messages of a queue may wait without a group's offset moving before that is told.")

    /// From how many waiting messages on a group counts as behind; 0 for never.
    public static let consumerBacklogWarning = Setting(
        "consumerBacklogWarning", default: 1_000_000, bounds: 0...Int64.max, unit: .messages, changeable: true,
        "How many messages of a topic may wait for a group before that is told; 0 for any number.")

    /// The least version, as frame headers give it, that is not told of; 0 for none.
    public static let oldestClientVersion = Setting(
        "oldestClientVersion", default: 62, bounds: 0...32_767, changeable: true,
        "Consumers of a lower protocol version are told of; 62 (3.1.8) is the first that tools can ask what it does, 409 is 4.9.8."
    )

    static let consumerWatch = SettingsGroup(
        "Watch over consumer groups", [consumerCheckInterval, consumerStoppedAfter, consumerBacklogWarning, oldestClientVersion])
}

/// Settings about sends that come twice. The reference has none of them.
extension BrokerSettings {
    /// How long a send is remembered; 0 for not at all.
    public static let deduplicationWindow = Setting(
        "deduplicationWindow", default: 0, bounds: 0...86_400_000, unit: .milliseconds,
        "How long a message's UNIQ_KEY is remembered: a client that sends it again to the same topic gets the first one's result, and "
            + "it is stored once; 0 stores every send.")

    /// How many sends are remembered at most.
    public static let deduplicationMaxKeys = Setting(
        "deduplicationMaxKeys", default: 250_000, bounds: 1000...16_000_000,
        "How many keys are remembered at most, 56 to 64 bytes each; beyond that the oldest go before deduplicationWindow is over.")
}

import RocketMQProtocol

/// A consumer group as this broker knows it. One object for as long as the group exists, so that hot paths may keep it.
/// Confined to the broker's loop.
final class SubscriptionGroup {
    let name: String
    var config: SubscriptionGroupConfig
    /// The group was deleted: look it up again.
    var isRemoved = false

    init(_ config: SubscriptionGroupConfig) {
        name = config.groupName
        self.config = config
    }
}

import RocketMQBase

/// The attributes of a topic (5.x: `updateTopic -a +name=value,-name`) that mean something to this broker. Others are kept
/// and handed on.
struct TopicAttributes: Equatable {
    /// How long messages are served after they were stored; `nil`: as long as their file is there.
    var retentionMilliseconds: Int64?
    /// Whether a send waits for the disk; `nil`: as the broker's `flushDiskType` says.
    var isFlushSynchronous: Bool?

    /// A time such as `30m`, `12h` or `7d`.
    static let retentionTime = "retention.time"
    /// `SYNC_FLUSH` or `ASYNC_FLUSH`.
    static let flushDiskType = "flush.disk.type"

    /// Why a value cannot be taken.
    struct Refusal: Error { var reason: String }

    init(_ attributes: [String: String]) throws(Refusal) {
        if let text = attributes[Self.retentionTime] {
            guard let levels = DelayLevels(settingText: text), levels.count == 1, let time = levels.milliseconds.first,
                time <= 100 * 366 * 86_400_000
            else {
                throw Refusal(reason: "\(Self.retentionTime) must be one time such as 90s, 30m, 12h or 7d, not \"\(text)\"")
            }
            retentionMilliseconds = time
        }
        if let text = attributes[Self.flushDiskType] {
            guard let type = FlushDiskType(settingText: text) else {
                throw Refusal(reason: "\(Self.flushDiskType) must be SYNC_FLUSH or ASYNC_FLUSH, not \"\(text)\"")
            }
            isFlushSynchronous = type == .syncFlush
        }
    }

    /// None of them.
    init() {}
}

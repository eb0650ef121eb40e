/// What a consumer holds of all its queues together: messages that were pulled and are not finished.
struct HeldTotals: Equatable {
    private(set) var count = 0
    private(set) var byteCount = 0

    mutating func add(count: Int, byteCount: Int) {
        self.count += count
        self.byteCount += byteCount
    }

    mutating func remove(count: Int, byteCount: Int) { add(count: -count, byteCount: -byteCount) }

    func isWithin(count limit: Int?, mebibytes: Int?) -> Bool {
        if let limit, count > limit { return false }
        if let mebibytes, byteCount > mebibytes << 20 { return false }
        return true
    }
}

extension ConsumerConfiguration {
    /// How much a queue may hold when this consumer has `queueCount` queues of its topic.
    func limits(queueCount: Int, isOrderly: Bool) -> ProcessQueue.Limits {
        let queueCount = max(1, queueCount)
        let count = min(pullThresholdForQueue, pullThresholdForTopic.map { max(1, $0 / queueCount) } ?? .max)
        let bytes = min(
            pullThresholdSizeForQueueMebibytes << 20, pullThresholdSizeForTopicMebibytes.map { max(1, ($0 << 20) / queueCount) } ?? .max)
        // In order the messages finish from the front: their distance says no more than their number.
        return ProcessQueue.Limits(count: count, byteCount: bytes, span: isOrderly ? .max : consumeConcurrentlyMaxSpan)
    }
}

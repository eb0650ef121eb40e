import RocketMQProtocol

/// What a consumer, or a group of them, wants of one topic, ready for filtering.
final class ActiveSubscription {
    let data: SubscriptionData
    /// Hashes of the wanted tags as consume queues hold them; `nil` when every message is wanted, or when the expression is
    /// none of tags (`data.isTagExpression`).
    let tagsCodes: [Int64]?
    /// The compiled expression of an `SQL92` subscription, or what is wrong with it; `nil` for others.
    let expression: Result<CompiledExpression, ExpressionError>?
    /// The topic's name, to be compared with names in messages. Empty unless there is an expression.
    let topicBytes: [UInt8]

    init(_ data: SubscriptionData) {
        self.data = data
        let hasExpression = data.expressionType == ExpressionType.sql92
        expression = hasExpression ? Result { () throws(ExpressionError) in try PropertyExpression.compile(data.subString) } : nil
        topicBytes = hasExpression ? Array(data.topic.utf8) : []
        guard data.isTagExpression, data.subString != SubscriptionData.all, !data.subString.isEmpty else {
            tagsCodes = nil
            return
        }
        var codes = data.codeSet
        if codes.isEmpty { codes = Set(data.tagsSet.map { JavaHash.hash($0) }) }
        // A client that sent nothing but the expression.
        if codes.isEmpty, let read = try? SubscriptionData(topic: data.topic, expression: data.subString) { codes = read.codeSet }
        tagsCodes = codes.sorted().map { Int64($0) }
    }

    /// Why no pull can be served by it; `nil` when it is well.
    var defect: String? {
        if data.isTagExpression { return nil }
        guard data.expressionType == ExpressionType.sql92 else {
            return "this broker filters by \(ExpressionType.tag) and \(ExpressionType.sql92), not by \(data.expressionType.prefix(50))"
        }
        if case .failure(let error)? = expression { return "\(error)" }
        return nil
    }

    /// What is selected, in a form that is the same for all that select the same.
    private(set) lazy var selection =
        data.isTagExpression
        ? tagsCodes.map { codes in "TAG " + codes.map { "\($0)" }.joined(separator: ",") } ?? "TAG"
        : "\(data.expressionType) \(data.subString)"

    /// Whether both select the same messages, whatever their versions.
    func selectsSame(as other: ActiveSubscription) -> Bool {
        if self === other { return true }
        guard data.isTagExpression == other.data.isTagExpression else { return false }
        if data.isTagExpression { return tagsCodes == other.tagsCodes }
        return data.expressionType == other.data.expressionType && data.subString == other.data.subString
    }
}

/// What the pull path finds of a subscription to a topic.
enum SubscriptionLookup {
    /// No consumer of the group is connected.
    case noGroup
    /// Consumers of the group are connected, and none subscribed to the topic.
    case noSubscription
    /// Consumers of the group want different messages of the topic, and who asks is not known as one of them.
    case ambiguous(ClientMember, ClientMember)
    case found(ActiveSubscription, model: MessageModel)
}

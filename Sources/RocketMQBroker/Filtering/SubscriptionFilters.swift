import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Turns subscriptions into filters that reads of the store apply. Confined to the broker's loop.
final class SubscriptionFilters {
    /// `enablePropertyFilter`.
    var isPropertyFilterEnabled: Bool
    private let clients: ClientTable
    /// Expressions that were read already: every pull of a consumer carries the same one.
    private var byTags: [String: MessageFilter] = [:]
    private var byProperties: [String: MessageFilter] = [:]
    /// Bytes of the keys of both.
    private var knownBytes = 0

    init(isPropertyFilterEnabled: Bool, clients: ClientTable) {
        self.isPropertyFilterEnabled = isPropertyFilterEnabled
        self.clients = clients
    }

    /// The filter for an expression that a pull carries.
    ///
    /// - Parameter type: of the expression: `TAG` or none, or `SQL92`.
    func filter(_ text: String, type: String) throws(InvalidRequest) -> MessageFilter {
        if type.isEmpty || type == ExpressionType.tag {
            do throws(InvalidExpression) { return try filter(tags: text) } catch {
                throw InvalidRequest("the subscription \(text) cannot be read: \(error)", code: .subscriptionParseFailed)
            }
        }
        try checkType(type)
        if let known = byProperties[text] { return known }
        let filter = Self.filter(try Self.compile(text))
        remember(text)
        byProperties[text] = filter
        return filter
    }

    /// The filter for what a group's heartbeats say.
    func filter(_ subscription: ActiveSubscription) throws(InvalidRequest) -> MessageFilter {
        guard !subscription.data.isTagExpression else { return MessageFilter(tagsCodes: subscription.tagsCodes) }
        try checkType(subscription.data.expressionType)
        switch subscription.expression {
        case .success(let expression): return Self.filter(expression)
        case .failure(let error):
            throw InvalidRequest(
                "there is no filter for topic \(subscription.data.topic), since its expression cannot be compiled: \(error)",
                code: .filterDataNotExist)
        case nil:
            throw InvalidRequest("there is no filter for topic \(subscription.data.topic)", code: .filterDataNotExist)
        }
    }

    /// Throws unless this broker can filter by the subscription's expression.
    func check(_ subscription: SubscriptionData) throws(InvalidRequest) {
        guard !subscription.isTagExpression else { return }
        try checkType(subscription.expressionType)
        _ = try Self.compile(subscription.subString)
    }

    /// What `filterSupportRetry` makes of a filter on a group's retry topic: a message must also suit the expression by which
    /// the consumer at the connection, or else the group, subscribes to the topic that the message came from, if by one now.
    func applyingToRetries(_ filter: MessageFilter, ofGroup group: String, connection: UInt64) -> MessageFilter {
        guard isPropertyFilterEnabled else { return filter }
        var filter = filter
        filter.matchesRecord = { [clients] record in
            guard let group = clients.consumerGroup(group) else { return true }
            let subscriptions = group.members[connection]?.subscriptions ?? group.subscriptions
            let properties = Self.properties(record)
            guard let topic = MessageProperties.range(of: PropertyName.retryTopic, in: properties) else { return true }
            for subscription in subscriptions.values {
                guard case .success(let expression)? = subscription.expression else { continue }
                let name = subscription.topicBytes
                guard name.span.bytes.equals(properties.extracting(topic)) else { continue }
                return expression.matches(properties: properties)
            }
            return true
        }
        return filter
    }

    // MARK: Parts

    private func filter(tags: String) throws(InvalidExpression) -> MessageFilter {
        if tags.isEmpty || tags == SubscriptionData.all { return .all }
        if let known = byTags[tags] { return known }
        let data = try SubscriptionData(topic: "", expression: tags)
        let filter = data.wantsAll ? MessageFilter.all : MessageFilter(tagsCodes: data.codeSet.map { Int64($0) })
        remember(tags)
        byTags[tags] = filter
        return filter
    }

    /// Expressions come from clients: what they may leave here is bounded.
    private func remember(_ text: String) {
        if byTags.count + byProperties.count >= 1024 || knownBytes > 1 << 20 {
            byTags.removeAll()
            byProperties.removeAll()
            knownBytes = 0
        }
        knownBytes += text.utf8.count
    }

    private func checkType(_ type: String) throws(InvalidRequest) {
        guard type == ExpressionType.sql92 else {
            throw InvalidRequest("this broker does not filter by \(type): subscribe by \(ExpressionType.tag) or \(ExpressionType.sql92)")
        }
        guard isPropertyFilterEnabled else {
            throw InvalidRequest("this broker does not filter by \(type) (enablePropertyFilter=false): switch it on, or subscribe by tags")
        }
    }

    private static func compile(_ text: String) throws(InvalidRequest) -> CompiledExpression {
        do throws(ExpressionError) { return try PropertyExpression.compile(text) } catch {
            throw InvalidRequest("the expression cannot be compiled: \(error)", code: .subscriptionParseFailed)
        }
    }

    private static func filter(_ expression: CompiledExpression) -> MessageFilter {
        MessageFilter { expression.matches(properties: properties($0)) }
    }

    /// The encoded properties of a record; none if it cannot be read.
    @_lifetime(copy record)
    private static func properties(_ record: RawSpan) -> RawSpan {
        guard record.byteCount > 0, case .record(let found) = MessageRecord.find(in: record, at: 0, verifyingChecksum: false) else {
            return record.extracting(first: 0)
        }
        return record.extracting(found.properties)
    }
}

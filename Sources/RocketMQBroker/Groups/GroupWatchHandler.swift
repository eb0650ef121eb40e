import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Tells tools what is wrong with consumer groups (9101, which the reference does not have): of the group that the field
/// `group` names with its members, or of all.
final class GroupWatchHandler: AdministrationHandler {
    let codes: [RequestCode] = [.checkConsumerGroups]
    private let watch: GroupWatch
    private let groups: SubscriptionGroupTable

    init(watch: GroupWatch, groups: SubscriptionGroupTable) {
        self.watch = watch
        self.groups = groups
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        if let group = request.optionalText("group") {
            guard groups.existing(group) != nil || watch.knows(group) else {
                throw InvalidRequest("there is no consumer group \(group) on this broker", code: .subscriptionGroupNotExist)
            }
            return .success(body: watch.report(ofGroup: group).encoded())
        }
        let later = AnswerLater(request, from: connection)
        watch.lookAtAll { later.send(.success(body: $0.encoded())) }
        return nil
    }
}

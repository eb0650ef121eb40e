import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

// 105: by far the most frequent request, therefore answered without a general form of it, from bytes that are kept.
extension NameServer {
    func answerRoute(_ header: borrowing HeaderTable, _ frame: RawSpan, _ connection: ServerConnection) {
        guard !header.isOneway else { return }
        let to = header.answerTo
        guard let index = header.index(of: "topic", in: frame) else {
            return connection.answer(to, .response(.systemError, "field topic of \(RequestCode.getRouteinfoByTopic) is missing"))
        }
        let topic = header.text(index, in: frame)
        let order = settings[NameServerSettings.orderMessageEnable] ? keyValues[KeyValueConfiguration.orderTopics, topic] : nil
        guard let body = routes.encodedRoute(of: topic, orderTopicConf: order) else {
            return connection.answer(
                to, .response(.topicNotExist, "no route: no broker has registered topic \(topic) with this name server"))
        }
        let stream = connection.stream
        guard !stream.isClosed else { return }
        var frame = FrameBuilder(&stream.output, response: .success, to: to)
        frame.endHeader(into: &stream.output)
        stream.output.append(body)
        frame.endFrame(into: &stream.output)
        stream.flushLater()
    }
}

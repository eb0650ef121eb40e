import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Answers requests of a few codes that are not on the hot path. Called on the broker's loop.
protocol AdministrationHandler: AnyObject {
    /// The codes that it answers.
    var codes: [RequestCode] { get }
    /// The answer, or `nil` when it comes later by way of an `AnswerLater`, or never. One-way requests come here too; what
    /// is returned for them is dropped.
    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand?
}

/// An answer that waits for something: a file to be durable, a client's own answer.
struct AnswerLater {
    private let connection: ServerConnection
    private let to: AnswerTo
    private let isOneway: Bool

    init(_ request: RemotingCommand, from connection: ServerConnection) {
        self.connection = connection
        to = AnswerTo(opaque: request.opaque, serialization: request.serialization)
        isOneway = request.isOneway
    }

    /// Sends the answer; to be called once, on the loop. One-way requests get none.
    func send(_ response: RemotingCommand) {
        guard !isOneway else { return }
        connection.answer(to, response)
    }

    /// Sends what was found in the store, or why it could not be looked up.
    func send<Value>(_ result: Result<Value, StoreError>, _ answer: (Value) -> RemotingCommand) {
        switch result {
        case .success(let value): send(answer(value))
        case .failure(let error): send(.unreadable(error))
        }
    }
}

extension RemotingCommand {
    /// The answer when a lookup in the store failed.
    static func unreadable(_ error: StoreError) -> RemotingCommand { .response(.systemError, "the store cannot be read: \(error)") }

    /// The body as one JSON value; what is wrong with it is the answer's remark.
    func body<Body: JSONBody>(as type: Body.Type = Body.self) throws(InvalidRequest) -> Body {
        guard !body.isEmpty else { throw InvalidRequest("\(requestCode) has no body") }
        do throws(MalformedBytes) { return try Body(decoding: body) } catch {
            throw InvalidRequest("the body of \(requestCode) cannot be read: \(error.what)")
        }
    }

    /// A text field that may be missing; one of blanks counts as missing, as in the reference.
    func optionalText(_ name: String) -> String? {
        guard let text = fields[name], !text.allSatisfy(\.isWhitespace) else { return nil }
        return text
    }
}

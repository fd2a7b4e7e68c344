package peers.streams;

import peers.core.UserState;

/** The users of one task, however they are kept. */
interface UserStore {
    /** The user's state, a new one for a new user. The caller changes it in place. */
    UserState get(byte[] key, String userId);

    /** After every change. */
    void changed(byte[] key, String userId, UserState user);
}

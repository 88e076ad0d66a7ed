// Records what the JVM does in a handshake and with a connection's bytes, as tests/net/ess/auth_vectors.h:
//
//   java -cp 'JARS/*' tests/spark/AuthVectors.java > tests/net/ess/auth_vectors.h
//
// DIGEST-MD5: the JDK's client and server with Spark's parameters, one exchange for each quality.
// AuthEngine: Spark's client; the
// server's message is made here, as its private key must be known to play it again; that the client
// derives its session from it shows that it is right.
import com.google.crypto.tink.subtle.AesGcmHkdfStreaming;
import com.google.crypto.tink.subtle.Hkdf;
import com.google.crypto.tink.subtle.StreamSegmentEncrypter;
import com.google.crypto.tink.subtle.X25519;
import java.io.ByteArrayOutputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.IvParameterSpec;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.CallbackHandler;
import javax.security.auth.callback.NameCallback;
import javax.security.auth.callback.PasswordCallback;
import javax.security.sasl.AuthorizeCallback;
import javax.security.sasl.RealmCallback;
import javax.security.sasl.Sasl;
import javax.security.sasl.SaslClient;
import javax.security.sasl.SaslServer;
import org.apache.spark.network.util.MapConfigProvider;
import org.apache.spark.network.util.TransportConf;

public class AuthVectors {
  private static final String APP = "app-20261121000000-0001";
  private static final String SECRET = "a cluster secret";

  public static void main(String[] args) throws Exception {
    System.out.println("// Recorded by tests/spark/AuthVectors.java with Java "
        + System.getProperty("java.version") + " and Spark 3.5.7's jars; do not edit.");
    System.out.println("#pragma once\n\n#include <array>\n#include <string_view>\n");
    System.out.println("namespace shufflefs::net::ess::vectors {\n");
    System.out.println("inline constexpr std::string_view kApp = \"" + APP + "\";");
    System.out.println("inline constexpr std::string_view kSecret = \"" + SECRET + "\";");
    System.out.println("inline constexpr std::array<std::string_view, 2> kPlain = {\"" + plain(0)
        + "\", \"" + plain(1) + "\"};\n");
    digests();
    engines();
    System.out.println("}  // namespace shufflefs::net::ess::vectors");
  }

  // The beginning of a frame, as what is sealed first tells the cipher.
  private static String plain(int index) {
    return index == 0 ? "0000000000000015030000000000000001000000" : "00aa";
  }

  private static byte[] bytes(String hex) {
    return HexFormat.of().parseHex(hex);
  }

  private static String hex(byte[] bytes) {
    return HexFormat.of().formatHex(bytes);
  }

  private static void digests() throws Exception {
    System.out.println("// Tokens as text.");
    System.out.println("struct Digest {\n  std::string_view challenge, response, rspauth;\n};");
    System.out.println("// Of a client that does not want encryption, and one that does.");
    System.out.println("inline constexpr std::array<Digest, 2> kDigests = {{");
    digest("auth");
    digest("auth-conf");
    System.out.println("}};\n");
  }

  private static void digest(String quality) throws Exception {
    Map<String, String> forServer = new HashMap<>();
    forServer.put(Sasl.SERVER_AUTH, "true");
    forServer.put(Sasl.QOP, "auth-conf,auth");
    Map<String, String> forClient = new HashMap<>();
    forClient.put(Sasl.QOP, quality);
    SaslServer server =
        Sasl.createSaslServer("DIGEST-MD5", null, "default", forServer, AuthVectors::answer);
    SaslClient client = Sasl.createSaslClient(
        new String[] {"DIGEST-MD5"}, null, null, "default", forClient, AuthVectors::answer);
    byte[] challenge = server.evaluateResponse(new byte[0]);
    byte[] response = client.evaluateChallenge(challenge);
    byte[] rspauth = server.evaluateResponse(response);
    client.evaluateChallenge(rspauth);
    System.out.println("    {R\"(" + text(challenge) + ")\",\n     R\"(" + text(response)
        + ")\",\n     \"" + text(rspauth) + "\"},");
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private static String base64(String text) {
    return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }

  private static void answer(Callback[] callbacks) {
    for (Callback callback : callbacks) {
      if (callback instanceof NameCallback name) {
        name.setName(base64("sparkSaslUser"));
      } else if (callback instanceof PasswordCallback password) {
        password.setPassword(base64(SECRET).toCharArray());
      } else if (callback instanceof RealmCallback realm) {
        realm.setText(realm.getDefaultText());
      } else if (callback instanceof AuthorizeCallback authorize) {
        authorize.setAuthorized(true);
      }
    }
  }

  private static void engines() throws Exception {
    System.out.println("// All in hex. Sealed bytes are whole streams of one direction: kPlain[0], "
        + "kPlain[1].");
    System.out.println("struct Engine {\n  std::string_view cipher;\n  int version;\n"
        + "  std::string_view client_private, client_message;\n"
        + "  std::string_view server_private, server_salt, server_nonce, server_message;\n"
        + "  std::string_view from_client, from_server;  // the latter empty where it is random\n};");
    System.out.println("inline constexpr std::array<Engine, 4> kEngines = {{");
    for (String cipher : new String[] {"AES/CTR/NoPadding", "AES/GCM/NoPadding"}) {
      for (int version = 1; version <= 2; version++) {
        engine(cipher, version);
      }
    }
    System.out.println("}};\n");
  }

  private static Method method(Object object, String name, Class<?>... types) throws Exception {
    Method method = object.getClass().getDeclaredMethod(name, types);
    method.setAccessible(true);
    return method;
  }

  private static Object field(Object object, String name) throws Exception {
    Field field = object.getClass().getDeclaredField(name);
    field.setAccessible(true);
    return field.get(object);
  }

  private static Object message(Class<?> type, byte[] salt, byte[] ciphertext) throws Exception {
    var constructor = type.getDeclaredConstructor(String.class, byte[].class, byte[].class);
    constructor.setAccessible(true);
    return constructor.newInstance(APP, salt, ciphertext);
  }

  private static byte[] encode(Object message) throws Exception {
    ByteBuffer buffer = ByteBuffer.allocate(4096);
    buffer.put((byte) 0xFB);
    for (byte[] part : new byte[][] {APP.getBytes(StandardCharsets.UTF_8),
        (byte[]) field(message, "salt"), (byte[]) field(message, "ciphertext")}) {
      buffer.putInt(part.length).put(part);
    }
    byte[] encoded = new byte[buffer.position()];
    buffer.flip().get(encoded);
    return encoded;
  }

  private static byte[] concat(byte[]... parts) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      all.writeBytes(part);
    }
    return all.toByteArray();
  }

  private static byte[] sequence(int size, int first) {
    byte[] bytes = new byte[size];
    for (int i = 0; i < size; i++) {
      bytes[i] = (byte) (first + i);
    }
    return bytes;
  }

  private static void engine(String cipher, int version) throws Exception {
    TransportConf conf = new TransportConf("shuffle",
        new MapConfigProvider(Map.of("spark.network.crypto.enabled", "true",
            "spark.network.crypto.cipher", cipher, "spark.network.crypto.authEngineVersion",
            String.valueOf(version))));
    Class<?> type = Class.forName("org.apache.spark.network.crypto.AuthEngine");
    var constructor =
        type.getDeclaredConstructor(String.class, String.class, TransportConf.class);
    constructor.setAccessible(true);
    Object client = constructor.newInstance(APP, SECRET, conf);
    Object clientMessage = method(client, "challenge").invoke(client);
    byte[] serverPrivate = X25519.generatePrivateKey();
    byte[] salt = sequence(16, 0x40);
    byte[] nonce = sequence(12, 0x70);
    byte[] aad = concat(APP.getBytes(StandardCharsets.UTF_8), salt, encode(clientMessage));
    byte[] key = Hkdf.computeHkdf(
        "HMACSHA256", SECRET.getBytes(StandardCharsets.UTF_8), salt, aad, 16);
    Cipher gcm = Cipher.getInstance("AES/GCM/NoPadding");
    gcm.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(key, "AES"), new GCMParameterSpec(128, nonce));
    gcm.updateAAD(aad);
    Object serverMessage = message(clientMessage.getClass(), salt,
        concat(nonce, gcm.doFinal(X25519.publicFromPrivate(serverPrivate))));
    method(client, "deriveSessionCipher", clientMessage.getClass(), clientMessage.getClass())
        .invoke(client, clientMessage, serverMessage);
    Object session = field(client, "sessionCipher");
    String fromClient = "";
    String fromServer = "";
    if (cipher.contains("CTR")) {
      SecretKeySpec sessionKey = (SecretKeySpec) field(session, "key");
      fromClient = ctr(sessionKey, (byte[]) field(session, "outIv"));
      fromServer = ctr(sessionKey, (byte[]) field(session, "inIv"));
    } else {
      SecretKeySpec sessionKey = (SecretKeySpec) field(session, "aesKey");
      fromClient = gcm(sessionKey, bytes(plain(0))) + gcm(sessionKey, bytes(plain(1)));
    }
    System.out.println("    {\"" + cipher + "\", " + version + ",");
    System.out.println("     \"" + hex((byte[]) field(client, "clientPrivateKey")) + "\",");
    System.out.println("     \"" + hex(encode(clientMessage)) + "\",");
    System.out.println("     \"" + hex(serverPrivate) + "\", \"" + hex(salt) + "\",");
    System.out.println("     \"" + hex(nonce) + "\", \"" + hex(encode(serverMessage)) + "\",");
    System.out.println("     \"" + fromClient + "\",\n     \"" + fromServer + "\"},");
  }

  private static String ctr(SecretKeySpec key, byte[] iv) throws Exception {
    Cipher cipher = Cipher.getInstance("AES/CTR/NoPadding");
    cipher.init(Cipher.ENCRYPT_MODE, key, new IvParameterSpec(iv));
    return hex(cipher.doFinal(concat(bytes(plain(0)), bytes(plain(1)))));
  }

  private static String gcm(SecretKeySpec key, byte[] plain) throws Exception {
    AesGcmHkdfStreaming streaming = new AesGcmHkdfStreaming(
        key.getEncoded(), "HmacSha256", key.getEncoded().length, 32 * 1024, 0);
    long total = 8 + streaming.getHeaderLength() + plain.length + 16;
    byte[] length = ByteBuffer.allocate(8).putLong(total).array();
    StreamSegmentEncrypter encrypter = streaming.newStreamSegmentEncrypter(length);
    ByteBuffer sealed = ByteBuffer.allocate(plain.length + 16);
    encrypter.encryptSegment(ByteBuffer.wrap(plain), true, sealed);
    byte[] header = new byte[encrypter.getHeader().remaining()];
    encrypter.getHeader().get(header);
    return hex(concat(length, header, sealed.array()));
  }
}

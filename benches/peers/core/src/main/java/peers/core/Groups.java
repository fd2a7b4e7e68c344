package peers.core;

import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/** Groups of merchant categories: labels and ISO 18245 codes that mean the same kind of purchase. */
public final class Groups {
    /** Name, labels, ranges of codes; the first four turn a purchase into money. */
    private static final String[][] LINES = {
            {"gift_cards", "gift_cards gift_card giftcards giftcard prepaid prepaid_cards stored_value", "5947-5947 6540-6540"},
            {"transfers", "transfers transfer p2p wire_transfer wire_transfers wire money_transfer money_transfers remittance money_order cash_advance", "4829-4829 6010-6012 6533-6538"},
            {"gambling", "gambling casino casinos betting lottery sports_betting online_gambling", "7800-7802 7995-7995 9406-9406"},
            {"crypto", "crypto cryptocurrency crypto_exchange digital_assets quasi_cash nft", "6050-6051"},
            {"travel", "travel airline airlines flights flight air_travel lodging hotel hotels accommodation car_rental car_hire rental_cars travel_agency travel_agencies cruise cruises rail train trains", "3000-3999 4112-4112 4411-4411 4511-4511 4582-4582 4722-4723 7011-7012 7033-7033 7512-7513 7519-7519"},
            {"transport", "transport transportation taxi taxis ride_hailing rideshare ride_share transit public_transport parking tolls", "4111-4111 4121-4121 4131-4131 4784-4784 4789-4789 7523-7523"},
            {"groceries", "groceries grocery supermarket supermarkets food convenience", "5411-5411 5422-5422 5441-5441 5451-5451 5462-5462 5499-5499 5921-5921"},
            {"dining", "dining restaurant restaurants food_delivery fast_food takeaway cafe", "5811-5814"},
            {"electronics", "electronics computers consumer_electronics phones", "4812-4812 5045-5046 5065-5065 5722-5722 5732-5732"},
            {"software", "software saas cloud digital_goods apps games gaming hosting", "4816-4816 5734-5734 5815-5818 7372-7375"},
            {"streaming", "streaming subscription subscriptions media music video entertainment", "4899-4899 7832-7832 7841-7841 7922-7922 7929-7929"},
            {"utilities", "utilities utility telecom internet energy", "4814-4814 4900-4900"},
            {"clothing", "clothing apparel fashion shoes", "5611-5699 5931-5931"},
            {"home", "home furniture home_improvement household hardware garden", "5200-5261 5271-5271 5712-5719"},
            {"health", "health pharmacy pharmacies medical drugstore beauty cosmetics", "5912-5912 5977-5977 5975-5976 8011-8099"},
            {"fuel", "fuel gas_station petrol ev_charging", "5541-5542 5552-5552"},
            {"retail", "retail general general_merchandise marketplace department_store shopping department_stores", "5300-5399 5999-5999 5262-5262"},
            {"office", "office office_supplies stationery printing", "2741-2842 5111-5111 5943-5943"},
            {"books", "books bookstore books_and_media", "5192-5192 5942-5942"},
            {"insurance", "insurance", "5960-5960 6300-6300"},
            {"education", "education courses tuition", "8211-8299"},
            {"pets", "pets pet_supplies veterinary", "742-742 5995-5995"},
            {"sports", "sports sporting_goods fitness outdoors", "5940-5941 7941-7941 7997-7997"},
            {"toys", "toys hobby hobbies", "5945-5945"},
            {"donations", "donations charity charities", "8398-8398"}
    };
    private static final int RISK_GROUPS = 4;
    private static final Map<String, Integer> LABELS = new HashMap<>();
    private static final byte[] CODES = new byte[10_000];

    static {
        for (int line = 0; line < LINES.length; line++) {
            for (String label : LINES[line][1].split(" ")) {
                LABELS.put(label, line + 1);
            }
            for (String range : LINES[line][2].split(" ")) {
                if (range.isEmpty()) {
                    continue;
                }
                String[] ends = range.split("-");
                for (int code = Integer.parseInt(ends[0]); code <= Integer.parseInt(ends[1]); code++) {
                    CODES[code] = (byte) (line + 1);
                }
            }
        }
    }

    private Groups() {}

    /** The group of a category: its number from 1, or for one that no line names a hash of its own; 0 for null. */
    public static long of(String category) {
        if (category == null) {
            return 0;
        }
        int code = code(category);
        if (code >= 0) {
            return CODES[code] > 0 ? CODES[code] : own(category);
        }
        Integer group = LABELS.get(category);
        if (group == null) {
            group = LABELS.get(category.trim().toLowerCase(Locale.ROOT).replace(' ', '_').replace('-', '_'));
        }
        return group == null ? own(category) : group;
    }

    private static long own(String category) {
        return Hash.of(category) | Long.MIN_VALUE;
    }

    private static int code(String category) {
        if (category.length() != 4) {
            return -1;
        }
        int code = 0;
        for (int at = 0; at < 4; at++) {
            int digit = category.charAt(at) - '0';
            if (digit < 0 || digit > 9) {
                return -1;
            }
            code = code * 10 + digit;
        }
        return code;
    }

    public static boolean isRisk(long group) {
        return group >= 1 && group <= RISK_GROUPS;
    }

    public static String name(long group) {
        return LINES[(int) group - 1][0];
    }
}
